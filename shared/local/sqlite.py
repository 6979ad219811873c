"""One SQLite file, one writer: writes of many threads are committed together, so that one fsync serves all.

WAL with synchronous=FULL: what was answered survives a power cut.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import Retry

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
BUSY_SECONDS = 30.0
MAX_BATCH = 256
_Item = tuple[Work[Any], "Future[Any]"]


class Database:
    """A durable file shared by threads and processes."""

    def __init__(self, path: Path, schema: str) -> None:
        """Opens or makes the file. Raises Retry where the disk does not let us."""
        self._path = path
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._writer = self._connect()
        _guarded(path, lambda: self._writer.executescript(schema))
        self._thread = threading.Thread(target=self._write_forever, name="sqlite-writer", daemon=True)
        self._thread.start()

    def write(self, work: Work[T]) -> T:
        """Run `work` inside the next group commit; returns once it is durable.

        Raises what `work` raises (its changes are undone, the rest of the group's are not), or Retry where
        the file cannot be written now (disk full, locked by another process).
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise Retry(f"{self._path} is closed")
            self._queue.put((work, future))
        return future.result()

    def read(self, work: Work[T]) -> T:
        """Run a query on this thread's own connection; sees all that was committed."""
        return _guarded(self._path, lambda: work(self._reader()))

    def version(self) -> int:
        """A number that changes whenever any other connection has committed."""
        row = self.read(lambda connection: connection.execute("PRAGMA data_version").fetchone())
        return int(row[0])

    def close(self) -> None:
        """Finish what is queued, then close every connection."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        for connection in (*self._readers, self._writer):
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        def opened() -> sqlite3.Connection:
            connection = sqlite3.connect(
                self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cache_size=-2048")
            return connection

        return _guarded(self._path, opened)

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            connection.execute("PRAGMA query_only=1")
            self._local.connection = connection
            with self._lock:
                self._readers.append(connection)
        return connection

    def _write_forever(self) -> None:
        while True:
            batch, more = self._batch()
            if batch:
                self._commit(batch)
            if not more:
                return

    def _batch(self) -> tuple[list[_Item], bool]:
        first = self._queue.get()
        if first is None:
            return [], False
        batch = [first]
        while len(batch) < MAX_BATCH:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return batch, False
            batch.append(item)
        return batch, True

    def _commit(self, batch: list[_Item]) -> None:
        settle: list[Callable[[], None]] = []
        try:
            _guarded(self._path, lambda: self._run(batch, settle))
        except Retry as error:
            self._undo()
            settle = [partial(future.set_exception, Retry(str(error))) for _, future in batch]
        for tell in settle:
            tell()

    def _run(self, batch: list[_Item], settle: list[Callable[[], None]]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        for work, future in batch:
            settle.append(self._one(work, future))
        self._writer.execute("COMMIT")

    def _one(self, work: Work[Any], future: Future[Any]) -> Callable[[], None]:
        self._writer.execute("SAVEPOINT one")
        try:
            result = work(self._writer)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - the writer serves many; one caller's bug is that caller's
            self._writer.execute("ROLLBACK TO one")
            self._writer.execute("RELEASE one")
            return partial(future.set_exception, error)
        self._writer.execute("RELEASE one")
        return partial(future.set_result, result)

    def _undo(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")


def _guarded(path: Path, work: Callable[[], T]) -> T:
    try:
        return work()
    except sqlite3.Error as error:
        raise Retry(_explained(path, error)) from error


def _explained(path: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "disk is full" in text or "disk I/O error" in text:
        return f"the disk of {path} is full: make room there and it goes on by itself ({text})"
    if "locked" in text or "busy" in text:
        return f"{path} was locked by another process for {BUSY_SECONDS:.0f} s ({text})"
    if "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written: check the folder's owner and rights ({text})"
    return f"{path}: {text}"
