"""Processes of this machine as `/proc` tells of them, named so that a reused pid is never taken for another."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_DEAD = frozenset({b"Z", b"X"})


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """start: clock ticks after boot; with the pid it names a process for good. resident: bytes."""

    pid: int
    parent: int
    session: int
    start: int
    resident: int

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start / _TICKS


def parse(stat: bytes) -> Process | None:
    """A line of `/proc/<pid>/stat`; None for a process that is dead and only waits to be reaped."""
    pid, _, rest = stat.partition(b" ")
    fields = rest[rest.rindex(b")") + 2 :].split()
    if fields[0] in _DEAD:
        return None
    return Process(
        pid=int(pid),
        parent=int(fields[1]),
        session=int(fields[3]),
        start=int(fields[19]),
        resident=int(fields[21]) * _PAGE,
    )


def find(pid: int) -> Process | None:
    """The living process of that number."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - the sampling path
            return parse(file.read(4096))
    except (FileNotFoundError, ProcessLookupError):
        return None


def table() -> dict[int, Process]:
    """All living processes, by pid. About 10 µs a process."""
    numbers = (int(name) for name in os.listdir("/proc") if name[0] in "123456789")  # noqa: PTH208
    return {number: process for number in numbers if (process := find(number))}


def boot_id() -> str:
    """Names this run of the machine; empty where the kernel does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def family(processes: Mapping[int, Process], chosen: Callable[[Process], bool]) -> list[Process]:
    """The chosen processes and all their descendants."""
    found = {process.pid: process for process in processes.values() if chosen(process)}
    children: dict[int, list[Process]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process)
    waiting = list(found.values())
    while waiting:
        for child in children.get(waiting.pop().pid, ()):
            if child.pid not in found:
                found[child.pid] = child
                waiting.append(child)
    return list(found.values())


def listed(file: Path, processes: Mapping[int, Process]) -> set[int]:
    """Living processes whose pids stand in the file, a line each.

    One that began after the last line was written has only inherited the number.
    """
    try:
        lines = file.read_text(encoding="ascii", errors="replace").split()
        written = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return set()
    pids = {int(line) for line in lines if line.isdecimal()}
    return {pid for pid in pids if pid in processes and processes[pid].age >= written - 1}


def carries(process: Process, variable: bytes) -> bool:
    """Whether it was started with this `NAME=value` in its environment."""
    try:
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    return variable in environment.split(b"\0")


def send(targets: Iterable[Process], number: signal.Signals) -> None:
    """Signal exactly these processes; one that is gone is passed over."""
    for process in targets:
        with suppress(ProcessLookupError, PermissionError):
            _send(process, number)


def _send(process: Process, number: signal.Signals) -> None:
    handle = os.pidfd_open(process.pid)
    try:
        now = find(
            process.pid
        )  # looked up after the handle was taken: the handle cannot change hands any more
        if now and now.start == process.start:
            signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)
