"""One start of a workload: its folder, its lock, its processes.

A wrapper, a few lines of shell in a session of its own, stands between us and the pod. It holds a lock that we
took before it was started, writes down who it is before the pod begins and how the pod ended after it has, and
needs us for neither. So whoever looks at the folder, even a platform that was killed in between, finds one of:

    lock held                    it runs
    lock free, no `pid`          the pod never began: this very attempt may be started
    lock free, `pid`, `exit`     it ended by itself
    lock free, `pid`, no `exit`  wrapper or machine were killed
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from shared.local.cluster import processes
from shared.local.cluster.processes import Process

CHILDREN = "KUZNIA_CHILDREN"
_LOCK_IN_WRAPPER = 9
_DEFAULTS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGXFSZ)
# $1: folder of the attempt; $2: first line for the log; the rest: the pod's command. Descriptor 9: the lock.
# It tells its own errors, but not how the pod died, which the shell would call "Killed" in the pod's log.
# The traps keep the wrapper alive until it has written `exit`; a command starts with default signals again.
_WRAPPER = """
cd "$1" || exit 70
IFS= read -r self < "/proc/$$/stat" || exit 70
IFS= read -r boot < /proc/sys/kernel/random/boot_id || exit 70
printf '%s\\n%s\\n' "$self" "$boot" > pid.new && mv pid.new pid || exit 70
printf '%s\\n' "$2"
shift 2
trap : TERM INT HUP
exec 8>&2 2>/dev/null
(exec "$@" 2>&8 8>&- 9>&-)
code=$?
printf '%s\\n' "$code" > exit.new && mv exit.new exit
exit "$code"
"""


class Sight(Enum):
    """What is to be seen of an attempt."""

    NEVER_BEGAN = "never began"
    RUNS = "runs"
    OVER = "over"


class Attempt:
    """Used by one thread. A second platform is kept out by the lock, even beside a wrapper of a killed one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children = folder / "children"
        self._lock = folder / "lock"
        self._pid = folder / "pid"
        self._exit = folder / "exit"
        self._address = folder / "address"
        self._spawned = 0
        self._reaped: int | None = None

    def look(self) -> Sight:
        """Whether it never began, runs, or is over."""
        if not self._lock.exists():
            return Sight.NEVER_BEGAN
        with self._locked() as ours:
            if not ours:
                return Sight.RUNS
            return Sight.OVER if self._pid.exists() else Sight.NEVER_BEGAN

    def launch(
        self, command: Sequence[str], environment: Mapping[str, str], *, log: Path, title: str
    ) -> None:
        """Start it unless it has begun already. Raises OSError where no process can be made."""
        self.folder.mkdir(exist_ok=True)
        with self._locked() as lock:
            if lock and not self._pid.exists():
                arguments = ["/bin/sh", "-c", _WRAPPER, "kuznia-pod", str(self.folder), title, *command]
                variables = {**environment, CHILDREN: str(self.children)}
                self._spawned = os.posix_spawn(
                    "/bin/sh",
                    arguments,
                    variables,
                    file_actions=_descriptors(lock, log),
                    setsid=True,
                    setsigmask=(),
                    setsigdef=_DEFAULTS,
                )

    @property
    def address(self) -> str:
        """`host:port` that was given to a server before its start; empty where there is none."""
        try:
            return self._address.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""

    @address.setter
    def address(self, address: str) -> None:
        self.folder.mkdir(exist_ok=True)
        self._address.write_text(address, encoding="ascii")

    @property
    def began_at(self) -> float:
        """Unix seconds at which the wrapper wrote down who it is. Raises FileNotFoundError before that."""
        return self._pid.stat().st_mtime

    def wrapper(self) -> Process | None:
        """The wrapper where it is alive and has written down who it is."""
        written = self._written()
        alive = processes.find(written.pid) if written else None
        return alive if alive and written and alive.start == written.start else None

    def pod(self, running: Mapping[int, Process]) -> list[Process]:
        """The pod's own process, which is the wrapper's child."""
        wrapper = self.wrapper()
        return [process for process in running.values() if wrapper and process.parent == wrapper.pid]

    def members(self, running: Mapping[int, Process]) -> list[Process]:
        """All its processes while the wrapper lives: its session, what the pod listed, and their descendants."""
        wrapper = self.wrapper()
        session = wrapper.pid if wrapper else None
        listed = processes.listed(self.children, running)
        return processes.family(running, lambda process: process.session == session or process.pid in listed)

    def remains(self, running: Mapping[int, Process]) -> list[Process]:
        """What is left of it after the wrapper's death: known by the environment it was started with."""
        written = self._written()
        if written is None:
            return []
        mark = f"{CHILDREN}={self.children}".encode()
        listed = processes.listed(self.children, running)
        young = {pid: process for pid, process in running.items() if process.start >= written.start}
        return processes.family(
            running,
            lambda process: (
                process.pid in listed or (process.pid in young and processes.carries(process, mark))
            ),
        )

    def exit_code(self) -> int | None:
        """Of the pod, 128 and the signal's number where one killed it; None where nobody knows."""
        try:
            return int(self._exit.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):  # empty: the machine lost power
            return self._reaped

    def reap(self) -> None:
        """Take the wrapper's exit from the kernel, if it was our child, and keep the code. Only once it is over:
        the lock is free a moment before the exit can be taken.
        """
        if not self._spawned:
            return
        with suppress(ChildProcessError):  # somebody else in this program waited for it
            _, status = os.waitpid(self._spawned, 0)
            self._reaped = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self._spawned = 0

    def _written(self) -> Process | None:
        """Who the wrapper was, if it was in this run of the machine."""
        try:
            stat, boot = self._pid.read_bytes().splitlines()
            return processes.parse(stat) if boot.decode() == processes.boot_id() else None
        except (FileNotFoundError, ValueError):
            return None

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The descriptor of the lock where we could take it, else 0. A child that inherits it keeps it."""
        opened = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield opened if _take(opened) else 0
        finally:
            os.close(opened)


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _descriptors(lock: int, log: Path) -> list[tuple[int, int, int] | tuple[int, int, str, int, int]]:
    return [
        (os.POSIX_SPAWN_DUP2, lock, _LOCK_IN_WRAPPER),
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
