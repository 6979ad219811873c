"""A lock between processes of one machine that even kill -9 releases."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Retry

POLL_SECONDS = 0.05


@contextmanager
def locked(path: Path, timeout: float) -> Iterator[None]:
    """Hold the lock file, made if absent. Raises Retry where another process holds it for `timeout` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(handle, path, time.monotonic() + timeout)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Retry(f"another process holds {path}") from None
            time.sleep(POLL_SECONDS)
        else:
            return
