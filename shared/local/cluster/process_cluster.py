"""The cluster of the local profile: pods are processes of this machine.

Restarts: a job that was killed, vanished or asked for it (exit code 75) is started again, as is a server that
died after it was ready, or found its port taken. A platform that is killed leaves its pods running and finds
them again; one that is closed with `stop_workloads` ends them, and starts them again when it comes back, which
does not count as a restart. What `stop` ended stays ended, and nothing is said of it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from events.envelope import Event
from shared.errors import Reject, Retry
from shared.local.cluster import logs, spec, state
from shared.local.cluster.attempt import Attempt
from shared.local.cluster.disk import make_folders, naming_disk_faults, sync_folder
from shared.local.cluster.layout import Layout
from shared.local.cluster.supervisor import Supervisor
from shared.ports.clock import Clock
from shared.ports.cluster import Status, Workload

GONE = ".gone-"
_HELD = frozenset({"running", "ready"})
_LOCK_TRIES = 20
_LOCK_PAUSE = 0.05


class ProcessCluster:
    """Workloads below `root`. Before `start`, and in another process, it only writes down and reads.

    publish: takes `workload-changed` events; called by the supervisor's thread, and must not call the cluster.
    environment: the variables of pods, whole. All methods may be called by any thread.
    """

    def __init__(
        self,
        root: Path,
        publish: Callable[[Sequence[Event]], None],
        environment: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self._root = Path(os.path.realpath(root))
        self._publish = publish
        self._environment = environment
        self._clock = clock
        self._lock = threading.Lock()
        self._owned = -1
        self._supervisor: Supervisor | None = None

    def start(self) -> None:
        """Supervise: go on with what was applied, adopt what still runs. A second call does nothing.

        Raises Reject where another platform supervises this root.
        """
        with self._lock:
            if self._supervisor:
                return
            make_folders(self._root)
            self._owned = _own(self._root / ".lock")
            for left in (*self._root.glob(f"{spec.NEW}*"), *self._root.glob(f"{GONE}*")):
                shutil.rmtree(left, ignore_errors=True)
            self._supervisor = Supervisor(self._publish, self._environment, self._clock)
            for layout in spec.applied(self._root):
                self._supervisor.watch(layout)
            self._supervisor.start()

    def refresh(self) -> None:
        """Look after what other processes have applied or stopped meanwhile; for who supervises beside them.

        Raises OSError where the disk cannot be read.
        """
        with self._lock:
            if self._supervisor is None:
                return
            for layout in spec.applied(self._root):
                if state.load(layout).phase not in state.FINISHED:
                    self._supervisor.watch(layout)

    def close(self, *, stop_workloads: bool) -> None:
        """Supervise no more. stop_workloads: SIGTERM, grace, SIGKILL; the next `start` starts them again."""
        with self._lock:
            if not self._supervisor:
                return
            self._supervisor.close(suspend=stop_workloads)
            self._supervisor = None
            os.close(self._owned)

    def apply(self, workload: Workload) -> None:
        """Create it if absent; it is on disk when this returns. The same again is success.

        Raises Reject (faulty, or another one under the name), Retry (disk full, supervisor dead).
        """
        with self._lock:
            spec.create(self._root, workload)
            self._look_at(Layout(self._root / workload.name))

    def stop(self, name: str) -> None:
        """End it for good: SIGTERM to the pod, the grace, SIGKILL to all its processes; absent is success.

        Returns once the order is on disk; `status` says when it is done (failed, reason Stopped).
        """
        layout = self._layout(name)
        with self._lock:
            if not layout.workload.exists() or state.load(layout).phase in state.FINISHED:
                return
            with naming_disk_faults(layout.path):
                layout.stopped.touch()
                sync_folder(layout.path)
            self._look_at(layout)

    def status(self, name: str) -> Status | None:
        """How it stands, or None where it was never applied. pid: leader of its session, 0 if it does not run."""
        layout = self._layout(name)
        try:
            return _status(layout)
        except FileNotFoundError:
            return None

    def list(self) -> Sequence[Status]:
        """All that was applied and not yet forgotten, in order of name."""
        found = (self.status(layout.name) for layout in spec.applied(self._root))
        return [status for status in found if status]

    def logs(self, name: str, tail: int = 200) -> str:
        """The last lines of its output over all attempts. Raises FileNotFoundError where there are none."""
        return logs.tail(self._layout(name), tail)

    def forget(self, name: str) -> None:
        """Remove a finished workload and its output; absent is success.

        The name is free then, but a new workload under it says its events under the ids of the old one.
        Raises Reject where it is not finished, Retry where something is still to be said of it.
        """
        layout = self._layout(name)
        with self._lock:
            if not layout.workload.exists():
                return
            now = state.load(layout)
            if now.phase not in state.FINISHED:
                raise Reject(
                    f"workload {name!r} is {now.phase}: stop it first, it can be forgotten once it ended"
                )
            if now.unsaid or (self._supervisor and self._supervisor.holds(name)):
                raise Retry(f"the end of workload {name!r} was not yet said", after=1)
            gone = self._root / f"{GONE}{uuid.uuid4().hex}"
            layout.path.rename(gone)
            sync_folder(self._root)
        shutil.rmtree(gone, ignore_errors=True)

    def _layout(self, name: str) -> Layout:
        if not spec.is_name(name):
            raise Reject(f"{name!r} is no name of a workload; it should be a DNS label")
        return Layout(self._root / name)

    def _look_at(self, layout: Layout) -> None:
        if self._supervisor is None:
            return
        if not self._supervisor.running:
            raise Retry(
                "the cluster's supervisor has died; its traceback is in the output: restart the platform"
            )
        self._supervisor.watch(layout)


def _status(layout: Layout) -> Status:
    workload = spec.load(layout)
    now = state.load(layout)
    wrapper = Attempt(layout.attempt(now.attempt)).wrapper() if now.phase in _HELD else None
    return Status(
        name=workload.name,
        kind=workload.kind,
        phase=now.phase,
        attempt=now.attempt,
        reason=now.reason,
        message=now.message,
        exit_code=now.exit_code,
        address=now.address,
        pid=wrapper.pid if wrapper else 0,
    )


def _own(path: Path) -> int:
    """The descriptor of the lock that keeps other platforms out. Raises Reject, naming who holds it."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for left in reversed(range(_LOCK_TRIES)):  # a platform that has just been killed is not gone at once
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if left:
                time.sleep(_LOCK_PAUSE)
                continue
            holder = os.pread(opened, 20, 0).decode(errors="replace").strip()
            os.close(opened)
            raise Reject(
                f"process {holder} already supervises {path.parent}: stop it, or use another KUZNIA_HOME"
            ) from None
    os.ftruncate(opened, 0)
    os.pwrite(opened, f"{os.getpid()}\n".encode(), 0)
    return opened
