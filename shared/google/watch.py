"""How many changes of a query's result Firestore has told: one stream, no polling."""

from __future__ import annotations

import logging
import threading
from typing import Any

from google.cloud.firestore_v1.query import Query as FirestoreQuery

log = logging.getLogger("kuznia.google")


class Changes:
    """Listens from the first question on; a stream that ended is opened again at the next question."""

    def __init__(self, query: FirestoreQuery) -> None:
        self._query = query
        self._lock = threading.Lock()
        self._count = 0
        self._watch: Any = None
        self._closed = False

    def count(self) -> int:
        """A number that another commit changes, soon after it."""
        with self._lock:
            if self._closed:
                return self._count
            if self._watch is not None and not self._watch.is_active:
                log.warning("the stream of changes ended; it is opened again")
                self._watch = None
                self._count += 1
            if self._watch is None:
                self._watch = self._query.on_snapshot(self._changed)
            return self._count

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._closed = True
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.unsubscribe()

    def _changed(self, *_: object) -> None:
        self._count += 1
