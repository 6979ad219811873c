"""One platform a home: a lock that dies with its holder, and a note of where it answers."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import msgspec

from shared.errors import Reject

TRIES = 10
PAUSE_SECONDS = 0.05


class Endpoints(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running platform answers. pid: its process."""

    pid: int
    console: str
    gateway: str


class HomeLock:
    """Held from construction to `close`. Raises Reject where another process holds it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._note = home / "endpoints.json"
        self._descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not _locked(self._descriptor):
            os.close(self._descriptor)
            raise Reject(_held(home))

    def announce(self, endpoints: Endpoints) -> None:
        """Tell other processes where we answer."""
        temporary = self._note.with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(endpoints))
        temporary.rename(self._note)

    def close(self) -> None:
        """Let the next one have it."""
        self._note.unlink(missing_ok=True)
        os.close(self._descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours; whoever only looks (`running`) holds it for a moment, so one try is not enough."""
    for _ in range(TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(PAUSE_SECONDS)
        else:
            return True
    return False


def running(home: Path) -> Endpoints | None:
    """Where the platform of this home answers, if one runs."""
    lock, note = home / "lock", home / "endpoints.json"
    if not (lock.exists() and note.exists()):
        return None
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(note)
    return None


def _read(note: Path) -> Endpoints | None:
    """What the note says; None where its platform was just leaving."""
    try:
        return msgspec.convert(json.loads(note.read_text()), Endpoints)
    except FileNotFoundError:
        return None


def _held(home: Path) -> str:
    known = running(home)
    who = f"process {known.pid}, console {known.console}" if known else "a process that is just starting"
    return (
        f"a platform already runs on {home} ({who}): use that one, stop it,"
        " or set KUZNIA_HOME to another folder for a second one"
    )
