"""The cluster on Kubernetes: jobs as Jobs, JobSets or Workflows, servers as Deployments or releases of a chart.

What is applied is written down first (`shared.kubernetes.ledger`), then made. A watch tends what is written down:
makes what a crash left unmade, follows it through its attempts, says what changed, keeps the ends of outputs, and
takes away what was stopped or can never run. It may be restarted at any moment, and goes on from what is written.
Restarts are Kubernetes' own; a preempted pod costs none of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec.structs import replace

from events.envelope import Event
from shared.errors import Conflict, Reject, Retry
from shared.kubernetes import view
from shared.kubernetes.api import Api
from shared.kubernetes.kinds import POD
from shared.kubernetes.ledger import FINISHED, WORKLOAD, Ending, Entry, Ledger, check
from shared.kubernetes.making import Maker
from shared.kubernetes.releases.releaser import Releaser
from shared.kubernetes.settings import KubernetesSettings
from shared.kubernetes.tending import Tender
from shared.kubernetes.watch import Watch
from shared.local.cluster.spec import is_name
from shared.local.cluster.state import STOPPED
from shared.ports.clock import Clock
from shared.ports.cluster import Status, Workload

_TRIES = 5


class KubernetesCluster:
    """Before `start`, and in another process, it only writes down, makes, and reads. Any thread may use it.

    publish: takes `workload-changed` events; called by the watch's thread, and must not call the cluster.
    """

    def __init__(
        self,
        api: Api,
        settings: KubernetesSettings,
        releaser: Releaser,
        publish: Callable[[Sequence[Event]], None],
        clock: Clock,
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._ledger = Ledger(api, settings.platform_namespace)
        self._maker = Maker(api, settings, releaser)
        self._tender = Tender(api, self._ledger, self._maker, publish, clock)
        self._lock = threading.Lock()
        self._watch: Watch | None = None

    def start(self) -> None:
        """Watch, and tend what is open. A second call does nothing."""
        with self._lock:
            if self._watch is None:
                self._watch = Watch(
                    self._api, self._settings, self._tender.tend, self._ledger.names, self.expire
                )
                self._watch.start()

    def refresh(self) -> None:
        """What other processes have applied or stopped, the watch hears by itself."""

    def close(self, *, stop_workloads: bool = False) -> None:  # noqa: ARG002 - as the process cluster's
        """Watch no more. Workloads go on: they are the cluster's, not this program's."""
        with self._lock:
            if self._watch:
                self._watch.close()
                self._watch = None
            else:
                self._api.close()

    def look(self) -> None:
        """Tend all that is open once, in this thread: for who steps the world by hand."""
        for name in self._ledger.names():
            self._tender.tend(name)

    def tend(self, name: str) -> float | None:
        """Tend one, in this thread. See `Tender.tend`."""
        return self._tender.tend(name)

    def apply(self, workload: Workload) -> None:
        """Create it if absent; it is written down, and made, when this returns. The same again is success.

        Raises Reject (faulty, or another one under the name), Retry, Unknown (repeat it).
        """
        check(workload)
        entry = self._ledger.create(workload, self._maker.main(workload))
        standing = entry.standing
        if not standing.made and standing.ending is None and standing.phase not in FINISHED:
            self._maker.make(entry.workload)  # as it was read back: 25 and 25.0 are not one text
        self._look_at(workload.name)

    def stop(self, name: str) -> None:
        """End it for good: SIGTERM, the grace, SIGKILL; absent is success.

        Returns once the order is written down, and given; `status` says when it is done (failed, reason Stopped).
        """
        entry = self._entry(name)
        for _ in range(_TRIES):
            if entry is None or entry.standing.phase in FINISHED or _is_stopped(entry):
                return
            ending = Ending(reason=STOPPED, since=self._clock.now().timestamp())
            try:
                entry = self._ledger.save(entry, replace(entry.standing, ending=ending))
                break
            except Conflict:
                entry = self._ledger.read(name)
        else:
            raise Retry(f"workload {name!r} changes all the time", after=1)
        with suppress(Conflict):  # the watch was quicker, and keeps it
            entry = self._tender.keep(entry)
        self._maker.take_away(entry)
        self._look_at(name)

    def status(self, name: str) -> Status | None:
        """How it stands, or None where it was never applied."""
        entry = self._entry(name)
        return _status(entry) if entry else None

    def list(self) -> Sequence[Status]:
        """All that was applied and not yet forgotten, in order of name."""
        return [_status(entry) for entry in self._ledger.all()]

    def logs(self, name: str, tail: int = 200) -> str:
        """The last lines of its output over all attempts. Raises FileNotFoundError where there are none."""
        entry = self._entry(name)
        parts = self._outputs(entry) if entry else []
        if not parts:
            raise FileNotFoundError(f"workload {name!r} has written nothing")
        lines = "".join(parts).splitlines(keepends=True)
        return "".join(lines[-tail:]) if tail > 0 else ""

    def forget(self, name: str) -> None:
        """Remove what is written down of a finished workload; absent is success.

        Raises Reject where it is not finished, Retry where something is still to be said of it.
        """
        entry = self._entry(name)
        if entry is None:
            return
        if entry.standing.phase not in FINISHED:
            raise Reject(
                f"workload {name!r} is {entry.standing.phase}: stop it first, it can be forgotten once it ended"
            )
        if entry.standing.unsaid:
            raise Retry(f"the end of workload {name!r} was not yet said", after=1)
        self._maker.take_away(entry)
        self._ledger.remove(name)

    def expire(self) -> int:
        """Forget those that ended more than `keep_seconds` ago; how many that were."""
        limit = self._clock.now().timestamp() - self._settings.keep_seconds
        old = [
            entry.workload.name
            for entry in self._ledger.all()
            if entry.standing.phase in FINISHED
            and not entry.standing.unsaid
            and entry.standing.finished_at < limit
        ]
        for name in old:
            self.forget(name)
        return len(old)

    def _entry(self, name: str) -> Entry | None:
        if not is_name(name):
            raise Reject(f"{name!r} is no name of a workload; it should be a DNS label")
        return self._ledger.read(name)

    def _outputs(self, entry: Entry) -> Sequence[str]:
        """Kept ones, and of pods that are still there what they have written so far."""
        starts = entry.standing.starts
        pods = self._api.list(POD, entry.main.namespace, f"{WORKLOAD}={entry.workload.name}").items
        standing = view.with_starts(entry.standing, view.View(main=None, pods=view.in_order(pods, starts)))
        found = {number: entry.log(number) for number in entry.packed}
        for pod in pods:
            uid = pod["metadata"]["uid"]
            if uid not in standing.collected:
                text = self._tender.output(pod, view.number_of(pod, standing))
                if text:
                    found[standing.starts.index(uid) + 1] = text
        return [found[number] for number in sorted(found)]

    def _look_at(self, name: str) -> None:
        if self._watch is None:
            return
        if not self._watch.running:
            raise Retry("the cluster's watch has died; its traceback is in the output: restart the platform")
        self._watch.look_at(name)


def _is_stopped(entry: Entry) -> bool:
    ending = entry.standing.ending
    return ending is not None and ending.reason == STOPPED


def _status(entry: Entry) -> Status:
    standing = entry.standing
    return Status(
        name=entry.workload.name,
        kind=entry.workload.kind,
        phase=standing.phase,
        attempt=standing.attempt,
        reason=standing.reason,
        message=standing.message,
        exit_code=standing.exit_code,
        address=standing.address,
    )
