"""Connections to a SQLite file, and its errors in our own words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from shared.errors import Retry

T = TypeVar("T")
BUSY_SECONDS = 30.0
_PAUSE = 0.01
_READER_KIB, _WRITER_KIB = 2048, 16384
# Checkpoints every 16 MiB: a page that many commits touch is copied to its place once.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000")
# Not one statement's fault but the file's, the disk's or another process's.
_OF_THE_FILE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)


def connect(path: Path, *, writes: bool = False) -> sqlite3.Connection:
    """A connection in WAL mode, for any one thread at a time. Raises Retry where the disk does not let us."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _connect(path, _WRITER_KIB if writes else _READER_KIB)
        except sqlite3.Error as error:
            # Of several processes that make the file at once, only one may switch it to WAL; SQLite does not
            # wait for that by itself.
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise explained(path, error) from error
            time.sleep(_PAUSE)


def guarded(path: Path, work: Callable[[], T]) -> T:
    """Run it; SQLite's errors become Retry."""
    try:
        return work()
    except sqlite3.Error as error:
        raise explained(path, error) from error


def strikes_all(error: BaseException) -> bool:
    """Whether no statement of the transaction can be kept after this error."""
    return isinstance(error, sqlite3.Error) and _code(error) in _OF_THE_FILE


def explained(path: Path, error: BaseException) -> BaseException:
    """A Retry that says what to do where it is SQLite's error; any other as it is."""
    return Retry(_words(path, str(error))) if isinstance(error, sqlite3.Error) else error


def _connect(path: Path, cache_kib: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (*_PRAGMAS, f"cache_size=-{cache_kib}"):
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where the error is the module's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _words(path: Path, text: str) -> str:
    if "disk is full" in text or "disk I/O error" in text:
        return f"the disk of {path} is full: make room there and it goes on by itself ({text})"
    if "locked" in text or "busy" in text:
        return f"{path} was locked by another process for {BUSY_SECONDS:.0f} s ({text})"
    if "readonly" in text or "unable to open" in text:
        return f"{path} cannot be written: check the folder's owner and rights ({text})"
    return f"{path}: {text}"
