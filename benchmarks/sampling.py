"""Looks at processes from outside, by /proc: whether LLaMA-Factory is at work, and what CPU time was used."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE_SECONDS = 0.02


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


class OwnShare:
    """Counts the time in which no process of LLaMA-Factory is at work below a home: that is the platform's own.

    An engine that is ready and unasked is not at work; set `asking` while a client waits for it.
    """

    def __init__(self, home: Path) -> None:
        self._cluster = home / "cluster"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample_forever, daemon=True)
        self.asking = False
        self.own_seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _sample_forever(self) -> None:
        last = time.monotonic()
        while not self._stop.wait(SAMPLE_SECONDS):
            now = time.monotonic()
            if not (self.asking or self._at_work()):
                self.own_seconds += now - last
            last = now

    def _at_work(self) -> bool:
        return any(_works(folder) for folder in self._cluster.glob("[a-z]*"))


def _works(folder: Path) -> bool:
    if folder.name.startswith("serve-") and _ready(folder):
        return False
    pids = [pid for file in folder.glob("attempt-*/children") for pid in file.read_text().split()]
    return any(_alive(pid) for pid in pids)


def _ready(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "state.json").read_text())["phase"] == "ready")
    except (OSError, ValueError, LookupError):
        return False


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
