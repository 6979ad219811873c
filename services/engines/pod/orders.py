"""The engine's record, read again only when something changed."""

from __future__ import annotations

import time
from types import FrameType
from typing import Protocol, runtime_checkable

import msgspec

from services.engines.pod.document import Adapter, Orders
from shared.errors import Retry
from shared.ports.store import Store

EVERY_SECONDS = 2.0  # where the store cannot say cheaply that nothing has changed


@runtime_checkable
class Versioned(Protocol):
    """A store that can say cheaply whether anything has changed."""

    def version(self) -> int:
        """Another number after another's commit."""
        ...


class Registry:
    """What the server `server` is to carry, by the record `key`; used by one thread."""

    def __init__(self, store: Store, key: str, server: str) -> None:
        self._store = store
        self._key = key
        self._server = server
        self._seen: int | None = None
        self._next = 0.0
        self._poked = False
        self._known: dict[str, Adapter] = {}

    def poke(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Look again, whatever the store says."""
        self._poked = True

    def changed(self) -> bool:
        """Whether to look. Raises Retry."""
        if self._poked:
            return True
        if isinstance(self._store, Versioned):
            return self._store.version() != self._seen
        return time.monotonic() >= self._next

    def wanted(self) -> dict[str, Adapter]:
        """By release; none where another server is to carry them. Read only where something changed.

        Raises Retry, also for a record of no sense.
        """
        if not self.changed():
            return self._known
        self._poked = False
        seen = self._store.version() if isinstance(self._store, Versioned) else None
        record = self._store.load(self._key)
        try:
            orders = msgspec.convert(record.data, Orders)
        except msgspec.ValidationError as error:
            raise Retry(f"{self._key} does not read as an engine's record: {error}") from error
        self._seen, self._next = seen, time.monotonic() + EVERY_SECONDS
        self._known = orders.adapters if orders.server == self._server else {}
        return self._known
