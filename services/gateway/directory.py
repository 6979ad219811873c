"""The directory over the registry: reads the records `releases` and `tokens`, keeps them fresh beside the requests.

All reading is done by one thread of its own: the event loop never waits for a disk, and a store whose change
marker belongs to a thread's connection (SQLite's data_version) is always asked by the same one.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, runtime_checkable

from services.gateway.ports import Snapshot
from services.gateway.records import read_snapshot, snapshot_of
from shared.errors import KuzniaError
from shared.ports.store import Store

logger = logging.getLogger(__name__)
MARKER_EVERY = 0.25
RELOAD_EVERY = 2.0
APART = 0.1
APART_BLIND = 1.0  # where each look reads everything: anybody with a wrong token makes us look


@runtime_checkable
class Versioned(Protocol):
    """A store that can say cheaply whether anything has changed."""

    def version(self) -> int:
        """Another number after another's commit, as one and the same thread sees it."""
        ...


class StoreDirectory:
    """A `Directory` over a store. A record that does not read is left out and logged, the others stand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._snapshot = snapshot_of((), ())
        self._loaded = False
        self._marker: int | None = None
        self._faults: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gateway-directory")
        self._next: asyncio.Task[None] | None = None
        self._not_before = 0.0

    def snapshot(self) -> Snapshot:
        """The newest one read."""
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether the store has answered once."""
        return self._loaded

    def refresh(self) -> None:
        """Read now and wait for it; for callers outside the event loop. Raises Retry."""
        self._thread.submit(self._load).result()

    async def refresh_now(self) -> None:
        """Look again, together with all who ask meanwhile, at most ten times a second; and read where something has
        changed. A store that cannot say so cheaply is read at most once a second.

        A store that cannot answer is logged; the last snapshot stands.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._load_in_turn())
        await asyncio.shield(self._next)

    async def watch(self) -> None:
        """Look for changes: by the store's marker four times a second, else read again every 2 s."""
        loop = asyncio.get_running_loop()
        pause = MARKER_EVERY if isinstance(self._store, Versioned) else RELOAD_EVERY
        try:
            while True:
                await asyncio.sleep(pause)
                if await loop.run_in_executor(self._thread, self._stale):
                    await self.refresh_now()
        except asyncio.CancelledError:
            if self._next is not None:  # nobody is to wait for it any more
                self._next.cancel()
            raise

    def close(self) -> None:
        """End the reading thread."""
        self._thread.shutdown()

    async def _load_in_turn(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        self._next = None
        self._not_before = loop.time() + (APART if isinstance(self._store, Versioned) else APART_BLIND)
        try:
            await loop.run_in_executor(self._thread, self._load_changed)
        except KuzniaError as error:
            logger.warning("the registry does not answer, so the last routes and tokens stand: %s", error)

    def _stale(self) -> bool:
        return self._marker is None or self._version() != self._marker

    def _version(self) -> int | None:
        return self._store.version() if isinstance(self._store, Versioned) else None

    def _load_changed(self) -> None:
        if self._stale():
            self._load()

    def _load(self) -> None:
        marker = self._version()  # before reading: what changes meanwhile is read again
        self._snapshot, faults = read_snapshot(self._store)
        for key in faults.keys() - self._faults.keys():
            logger.warning("%s is left out, it does not read as it should: %s", key, faults[key])
        self._faults = faults
        self._marker = marker
        self._loaded = True
