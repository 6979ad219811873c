"""The processes of one home, found by what the kernel says of them, and ended by their numbers."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

END_SECONDS = 15.0


def of(home: Path) -> list[int]:
    """Living processes that belong to a home: by KUZNIA_HOME in their environment, or by their working folder.

    A trainer is not told KUZNIA_HOME; it works in a folder of the home.
    """
    mark = f"KUZNIA_HOME={home}".encode()
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return [pid for pid in pids if pid != os.getpid() and _belongs(pid, mark, home)]


def kill(home: Path) -> int:
    """SIGKILL to all of them, again and again until none is left; how many there were."""
    killed: set[int] = set()
    until = time.monotonic() + END_SECONDS
    while (found := of(home)) and time.monotonic() < until:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= set(found)
        time.sleep(0.01)
    assert not found, f"processes of {home} that do not end: {found}"
    return len(killed)


def resident(pid: int) -> int:
    """Bytes of main memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has had so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _belongs(pid: int, mark: bytes, home: Path) -> bool:
    folder = Path("/proc", str(pid))
    try:
        if (folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] in "ZX":
            return False
        if mark in (folder / "environ").read_bytes().split(b"\0"):
            return True
        return (folder / "cwd").readlink().is_relative_to(home)
    except (OSError, ValueError):
        return False
