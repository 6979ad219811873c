"""The audit log: one JSON line a request, who asked which weights and how it ended; never what was said."""

from __future__ import annotations

import logging
import os
import queue
import threading
from datetime import datetime
from pathlib import Path

import msgspec

logger = logging.getLogger(__name__)
PAUSE = 0.1
RETRY = 1.0
MAX_PENDING = 16 * 1024 * 1024
MAX_QUEUED = 65536


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """time: when the request came, UTC. token: its id. model: `<model_id>@<version>`. error: kind, if any."""

    time: datetime
    request_id: str
    route: str
    status: int
    duration_ms: float
    token: str = ""
    tenant: str = ""
    model: str = ""
    manifest_digest: str = ""
    stream: bool = False
    bytes_in: int = 0
    bytes_out: int = 0
    error: str = ""


class Audit:
    """A thread of its own writes what the requests leave behind, ten times a second at most.

    A disk that is full loses nothing at once: up to 16 MiB wait in memory, then the newest are counted as lost. So
    they are where a disk answers nothing at all, once 65,536 wait for the thread that waits for it. The file is
    opened anew each time, so that it may be rotated by a rename.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._pending = bytearray()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._complained = False
        self.lost = 0

    def start(self) -> None:
        """Begin to write. Raises OSError where the folder cannot be made."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread = threading.Thread(target=self._run, name="gateway-audit", daemon=True)
        self._thread.start()

    def put(self, entry: Entry) -> None:
        """Leave a line to be written; never waits."""
        if self._queue.qsize() >= MAX_QUEUED:
            self.lost += 1
            return
        self._queue.put(entry)

    def stop(self) -> None:
        """Write what is left, and end."""
        if self._thread is None:
            return
        self._stopping.set()
        self._queue.put(None)
        self._thread.join()
        self._thread = None

    def _run(self) -> None:
        more = True
        while more:
            more = self._collect()
            self._write()
            self._stopping.wait(PAUSE)

    def _collect(self) -> bool:
        """Wait for the first, take all that are there. False at the end."""
        try:
            entry = self._queue.get(timeout=RETRY if self._pending else None)
            while entry is not None:
                self._keep(entry)
                entry = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _keep(self, entry: Entry) -> None:
        if len(self._pending) > MAX_PENDING:
            self.lost += 1
            return
        self._pending += msgspec.json.encode(entry) + b"\n"

    def _write(self) -> None:
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                while self._pending:
                    written = os.write(handle, self._pending)
                    del self._pending[:written]
            finally:
                os.close(handle)
            self._complained = False
        except OSError as error:
            if not self._complained:
                logger.error("the audit log %s cannot be written: %s; its lines wait", self._path, error)
            self._complained = True
