"""The registry: records by key, written only by compare-and-set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from shared.record import Record


class Store(Protocol):
    """Durable records. Every adapter asks `shared.lifecycle.guard` inside its commit."""

    def load(self, key: str) -> Record:
        """The record, or one of revision 0 where there is none."""
        ...

    def commit(self, record: Record) -> Record:
        """Write it if the stored revision is still `record.revision`; returns it with the next revision.

        Raises Conflict where somebody else was first, Reject where the lifecycle forbids the change,
        Retry where the store cannot take it now (disk full, no connection).
        """
        ...

    def list(
        self, kind: str, *, status: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        """Records of a kind in order of key. prefix: of the name. after: key to go on from (a cursor)."""
        ...

    def owing(self, *, before: datetime, limit: int = 100) -> Sequence[Record]:
        """Records that are not dead, whose outbox is not empty, last written before that moment."""
        ...
