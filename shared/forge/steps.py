"""Long steps that a person watches: one line each with its time, and the tail of the log where one fails.

Only the standard library: `infra/bootstrap.py` uses it before there is anything else.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TAIL_LINES = 15
REFRESH_SECONDS = 0.2
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_PIP = re.compile(r"^\s*(Collecting|Downloading|Using cached|Installing collected packages)\b:?\s*(.{0,60})")
_MENDS = {
    r"No space left on device|Disk quota exceeded": "free some space, then run it again: the disk is full",
    r"name resolution|NewConnection|ConnectTimeout|Max retries|ReadTimeout|unreachable|SSLError": (
        "check the network, or pip's proxy and index settings: the package index cannot be reached; "
        "run it again then, what was downloaded is kept"
    ),
    r"No matching distribution|Could not find a version": (
        "check pip's index settings (`pip config list`) and that Python is 3.11, 3.12 or 3.13: "
        "the index does not have this version for this Python and machine"
    ),
    r"DO NOT MATCH THE HASHES": "check pip's index settings: what the index gave is not what is pinned",
    r"Permission denied": "check who owns the folder named above: a file there cannot be written",
}


class StepFailed(Exception):
    """A step did not succeed. The message says what, why as far as it is known, and how to mend it."""


def say(text: str) -> None:
    """To the terminal, now."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Step:
    """The line of one running step; what it is told to be at just now shows on a terminal only."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.note = ""
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def tell(self, note: str) -> None:
        """What it is at just now."""
        self.note = note

    def begin(self) -> None:
        """Show it."""
        if sys.stdout.isatty():
            self._thread.start()
        else:
            say(f"  {self.label} … ")

    def end(self, mark: str) -> None:
        """Close the line with its mark and the seconds it took."""
        self._ended.set()
        seconds = f"{time.monotonic() - self._began:.1f} s"
        if self._thread.is_alive():
            self._thread.join()
            say(f"\r\x1b[K{mark} {self.label} \x1b[2m{seconds}\x1b[0m\n")
        else:
            say(f"{mark} {seconds}\n")

    def _refresh(self) -> None:
        for frame in itertools.cycle(_FRAMES):
            seconds = f"{time.monotonic() - self._began:.0f} s"
            width = shutil.get_terminal_size().columns - len(self.label) - len(seconds) - 5
            note = self.note[: max(0, width)]
            say(f"\r\x1b[K{frame} {self.label} \x1b[2m{seconds} {note}\x1b[0m")
            if self._ended.wait(REFRESH_SECONDS):
                return


@contextmanager
def step(label: str) -> Iterator[Step]:
    """Show a line while the block runs: ✓ and the time where it ends well, ✗ where it raises."""
    running = Step(label)
    running.begin()
    mark = "✗"
    try:
        yield running
        mark = "✓"
    finally:
        running.end(mark)


def run(
    command: Sequence[str | Path],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Run a command with its whole output in `log`; `note` hears what pip is at.

    Raises StepFailed with the tail of the log and how to mend it.
    """
    words = [str(word) for word in command]
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as kept,
        subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=env,
            cwd=cwd,
        ) as child,
    ):
        for line in child.stdout or ():
            kept.write(line)
            found = _PIP.match(line)
            if found:
                note(f"{found[1].split()[0].lower()} {found[2]}")
    if child.returncode:
        raise StepFailed(_explain(words, child.returncode, log))


def _explain(words: Sequence[str], code: int, log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    tail = "\n".join(f"    {line}" for line in text.splitlines()[-TAIL_LINES:])
    mend = _mend(text) or "the lines above say why; run it again once that is mended"
    command = " ".join(words[:6])
    return f"`{command} …` ended with {code}. The end of its log, {log}:\n{tail}\n  To mend: {mend}."


def _mend(text: str) -> str:
    return next((mend for pattern, mend in _MENDS.items() if re.search(pattern, text)), "")


def explain(error: Exception) -> str:
    """The error's own words, and how to mend it where that is known."""
    mend = _mend(str(error)) if isinstance(error, OSError) else ""
    return f"{error}\n  To mend: {mend}." if mend else str(error)


def require_space(folder: Path, gigabytes: float, purpose: str) -> None:
    """Raises StepFailed where the disk below `folder` has less than that free."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free / 1e9
    if free < gigabytes:
        raise StepFailed(
            f"{purpose} needs {gigabytes:g} GB in {folder}, and {free:.1f} GB are free.\n"
            "  To mend: free some space, or name another disk with XDG_CACHE_HOME."
        )


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file (made if absent): one process at a time, released even by kill -9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"  another process is at the same; waiting for it ({path})\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
