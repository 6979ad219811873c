"""One SQLite file, one writer: writes of many threads are committed together, so that one fsync serves all.

WAL with synchronous=FULL: what was answered survives a power cut, except what its caller can bear to lose.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from shared.errors import Retry
from shared.local.connection import connect, explained, guarded, strikes_all

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Answer = Any  # what a work returned, or the exception that it raised
MAX_BATCH = 256
_SYNCHRONOUS = {True: "PRAGMA synchronous=FULL", False: "PRAGMA synchronous=NORMAL"}


class _Portion(msgspec.Struct, frozen=True):
    """Works that one caller waits for."""

    works: Sequence[Work[Any]]
    durable: bool
    answers: Future[list[Answer]]


class Database:
    """A durable file shared by threads and processes."""

    def __init__(
        self, path: Path, schema: str, upgrade: Callable[[sqlite3.Connection], None] | None = None
    ) -> None:
        """Opens or makes the file. upgrade: mends an older file, before the schema. Raises Retry."""
        self._path = path
        self._readers: list[sqlite3.Connection] = []  # those that nobody reads with just now
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Portion | None] = queue.SimpleQueue()
        self._closed = False
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._writer = _prepared(path, schema, upgrade)
        self._durable = True  # as `connect` leaves it
        self._watcher = connect(path)
        self._watching = threading.Lock()
        self._thread = threading.Thread(target=self._write_forever, name="sqlite-writer", daemon=True)
        self._thread.start()

    def write(self, work: Work[T], *, durable: bool = True) -> T:
        """Run `work` inside the next group commit; returns once it is durable.

        Where durable is False, a power cut (but not a kill) may undo it, with all of its kind after it.
        Raises what `work` raises (its changes are undone, the rest of the group's are not), or Retry where
        the file cannot be written now (disk full, locked by another process).
        """
        (answer,) = self.write_all([work], durable=durable)
        if isinstance(answer, BaseException):
            raise answer
        result: T = answer
        return result

    def write_all(self, works: Sequence[Work[Any]], *, durable: bool = True) -> list[Answer]:
        """Like `write`, for many at once; an exception stands in the place of the work that failed."""
        answers: Future[list[Answer]] = Future()
        with self._lock:
            if self._closed:
                return [Retry(f"{self._path} is closed") for _ in works]
            self._queue.put(_Portion(works, durable, answers))
        return answers.result()

    def read(self, work: Work[T]) -> T:
        """Run a query on a connection that nobody else uses meanwhile; sees all that was committed."""
        reader = self._reader()
        try:
            return guarded(self._path, lambda: work(reader))
        finally:
            self._give_back(reader)

    def version(self) -> int:
        """A number that changes whenever something was committed, by whomever. Raises Retry."""
        with self._watching:
            row = guarded(self._path, lambda: self._watcher.execute("PRAGMA data_version").fetchone())
        return int(row[0])

    def close(self) -> None:
        """Finish what is queued, then close every connection; one that is read with, once it was."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        with self._watching:
            self._watcher.close()
        while self._readers:
            self._readers.pop().close()
        self._writer.close()

    def _reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise Retry(f"{self._path} is closed")
            if self._readers:
                return self._readers.pop()
        connection = connect(self._path)
        connection.execute("PRAGMA query_only=1")
        return connection

    def _give_back(self, reader: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                self._readers.append(reader)
                return
        reader.close()

    def _write_forever(self) -> None:
        while True:
            group, more = self._group()
            if group:
                self._commit(group)
            if not more:
                return

    def _group(self) -> tuple[list[_Portion], bool]:
        """All that waits, up to MAX_BATCH works; whether more may come."""
        portion = self._queue.get()
        group: list[_Portion] = []
        room = MAX_BATCH
        while portion is not None:
            group.append(portion)
            room -= len(portion.works)
            if room <= 0:
                return group, True
            try:
                portion = self._queue.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _commit(self, group: list[_Portion]) -> None:
        try:
            answers = self._run(group)
        except BaseException as error:  # noqa: BLE001 - were the writer to die of it, all would wait for ever
            self._undo()
            answers = [[_failure(self._path, error) for _ in portion.works] for portion in group]
        for portion, answer in zip(group, answers, strict=True):
            portion.answers.set_result(answer)

    def _run(self, group: list[_Portion]) -> list[list[Answer]]:
        durable = any(portion.durable for portion in group)
        if durable != self._durable:
            self._writer.execute(_SYNCHRONOUS[durable])
            self._durable = durable
        self._writer.execute("BEGIN IMMEDIATE")
        answers = [[self._one(work) for work in portion.works] for portion in group]
        self._writer.execute("COMMIT")
        return answers

    def _one(self, work: Work[Any]) -> Answer:
        self._writer.execute("SAVEPOINT one")
        try:
            answer = work(self._writer)
        except BaseException as error:  # one caller's bug is that caller's, not the group's
            if strikes_all(error) or not self._writer.in_transaction:
                raise
            self._writer.execute("ROLLBACK TO one")
            answer = explained(self._path, error)
        self._writer.execute("RELEASE one")
        return answer

    def _undo(self) -> None:
        """Back to where a transaction can begin; on a new connection where this one cannot be mended."""
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except sqlite3.Error:
            self._writer.close()
            with suppress(Retry):  # closed as it is, the next group fails on it, and this is tried again
                self._writer, self._durable = connect(self._path, writes=True), True


def _prepared(
    path: Path, schema: str, upgrade: Callable[[sqlite3.Connection], None] | None
) -> sqlite3.Connection:
    connection = connect(path, writes=True)
    try:
        if upgrade:
            guarded(path, lambda: upgrade(connection))
        guarded(path, lambda: connection.executescript(schema))
    except BaseException:
        connection.close()
        raise
    return connection


def _failure(path: Path, error: BaseException) -> BaseException:
    """What each of a group is told that was undone as a whole."""
    if isinstance(error, sqlite3.Error):
        return explained(path, error)
    return Retry(f"{path}: the group was undone by {type(error).__name__}: {error}")
