"""One look at one workload: reads what is, does what is due, says what changed. Driven by threads, or stepped."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from events.envelope import Event
from shared.errors import Conflict, Reject, Retry
from shared.kubernetes import view
from shared.kubernetes.api import Api, Object
from shared.kubernetes.causes import Cause
from shared.kubernetes.kinds import EVENT, JOB, JOB_SET, POD, Ref
from shared.kubernetes.ledger import FINISHED, WORKLOAD, Ending, Entry, Ledger, Standing, closed, packed
from shared.kubernetes.making import Maker, foreign
from shared.kubernetes.manifests.jobset import child_of
from shared.kubernetes.manifests.pod import CONTAINER
from shared.kubernetes.settings import KubernetesSettings
from shared.kubernetes.view import View
from shared.local.cluster.state import STOPPED
from shared.ports.clock import Clock

LOG_LINES = 2000
MARK = "=== attempt"
_SOON, _WAITING, _SETTLED = 1.0, 10.0, 30.0  # seconds until the next look, where nothing is heard before
_TRIES = 5
_ENDS = frozenset({"Complete", "Failed", "Completed", "Succeeded", "Error"})
_AIMS = frozenset({"FailureTarget", "SuccessCriteriaMet"})  # it will end, once its pods have
Publish = Callable[[Sequence[Event]], None]


class Tender:
    """Used by one thread at a time; two programs that tend the same workload do no harm."""

    def __init__(self, api: Api, ledger: Ledger, maker: Maker, publish: Publish, clock: Clock) -> None:
        self._api = api
        self._ledger = ledger
        self._maker = maker
        self._publish = publish
        self._clock = clock

    @property
    def settings(self) -> KubernetesSettings:
        """Of the cluster."""
        return self._maker.settings

    def tend(self, name: str) -> float | None:
        """Returns after how many seconds to look again at the latest; None: it is over, and all is said.

        Raises Retry, Unknown, Reject; what was done is found again by the next look.
        """
        for _ in range(_TRIES):
            entry = self._ledger.read(name)
            if entry is None:
                return None
            try:
                return self._tend(self._said(entry))
            except Conflict:
                continue
        return _SOON

    def _tend(self, entry: Entry) -> float | None:
        if closed(entry.standing):
            return None
        seen = self._look(entry)
        standing = view.with_starts(entry.standing, seen)
        if standing.ending:
            return self._end(entry, standing, seen)
        if seen.main is None:
            return self._without_main(entry, standing, seen)
        if not standing.made and not self._maker.owns(entry.workload, seen.main):
            self._never(entry, standing, foreign(entry.main.ref(entry.workload.name)))
            return None
        return self._follow(entry, replace(standing, made=True), seen)

    def _follow(self, entry: Entry, standing: Standing, seen: View) -> float | None:
        found = view.cause(seen, self.settings, self._clock.now())
        if found.phase == "pending":
            seen = replace(seen, events=self._events(entry, seen))
            found = view.cause(seen, self.settings, self._clock.now())
        standing = self._followed(entry, standing, seen, found)
        found = view.in_time(entry.workload, standing, seen, found, self._clock.now())
        if found.phase in FINISHED and not _to_be_restarted(entry, standing, seen):
            return self._conclude(entry, standing, seen, found)
        self._save(entry, standing, seen)
        if seen.pods and all(view.is_over(pod) for pod in seen.pods):
            return _SOON
        return _WAITING if standing.phase == "pending" else _SETTLED

    def _followed(self, entry: Entry, standing: Standing, seen: View, found: Cause) -> Standing:
        standing = view.addressed(standing, entry.workload, seen, self.settings)
        return view.followed(entry.workload, standing, seen, found, self._clock.now())

    def _conclude(self, entry: Entry, standing: Standing, seen: View, found: Cause) -> float | None:
        """It is over by itself, or it never will be: what does not end by itself is taken away before."""
        assert seen.main
        if entry.workload.kind == "job" and _has(seen.main, _ENDS):
            over = view.finished(entry.workload, standing, found, self._clock.now())
            self._said(self._save(entry, over, seen))
            return None
        if entry.workload.kind == "job" and _has(seen.main, _AIMS):
            self._save(entry, standing, seen)
            return _SOON
        ending = Ending(
            reason=found.reason,
            message=found.message,
            exit_code=found.exit_code,
            since=self._clock.now().timestamp(),
        )
        self._save(entry, replace(standing, ending=ending), seen, whole=True)
        return 0.0

    def _end(self, entry: Entry, standing: Standing, seen: View) -> float | None:
        """Take it away until it is gone; then it is over."""
        assert standing.ending
        if seen.main is not None and "deletionTimestamp" not in seen.main["metadata"]:
            self._maker.take_away(entry)
            seen = self._look(entry)
        if seen.main is not None or any(not view.is_over(pod) for pod in seen.pods):
            self._save(entry, standing, seen)
            return _SOON
        self._maker.take_away(entry)  # once more, for what else belongs to it
        now, why = self._clock.now(), standing.ending
        if why.reason == STOPPED:
            over = view.stopped(standing, now)
        else:
            cause = Cause(phase="failed", reason=why.reason, message=why.message, exit_code=why.exit_code)
            over = view.finished(entry.workload, standing, cause, now)
        self._said(self._save(entry, over, seen))
        return None

    def _without_main(self, entry: Entry, standing: Standing, seen: View) -> float | None:
        if not standing.made:
            try:
                self._maker.make(entry.workload)
            except Reject as error:
                never = Cause(phase="failed", reason="Error", message=str(error))
                self._said(
                    self._save(entry, view.finished(entry.workload, standing, never, self._clock.now()), seen)
                )
                return None
            return _SOON
        message = f"its {entry.main.kind} was deleted in namespace {entry.main.namespace} by somebody else"
        if entry.workload.kind == "job":
            kept = f"{self.settings.ttl_seconds} s after its end (KUZNIA_K8S_TTL_SECONDS), unseen by us"
            message += f", or cleared away {kept}"
        ending = Ending(reason="Vanished", message=message, since=self._clock.now().timestamp())
        self._save(entry, replace(standing, ending=ending), seen)
        return 0.0

    def _never(self, entry: Entry, standing: Standing, why: str) -> None:
        """It cannot be made, or not under this name."""
        cause = Cause(phase="failed", reason="Error", message=why)
        over = view.finished(entry.workload, standing, cause, self._clock.now())
        self._said(self._ledger.save(entry, over))

    # --- reading

    def _look(self, entry: Entry) -> View:
        name, namespace = entry.workload.name, entry.main.namespace
        main = self._api.read(entry.main.ref(name))
        pods = self._api.list(POD, namespace, f"{WORKLOAD}={name}")
        if main and view.is_older(pods.revision, main):
            raise Retry(f"the pods of {name} were told as they were before its {entry.main.kind}", after=1)
        child = None
        if main and main["kind"] == JOB_SET.kind and _has(main, _ENDS):
            child = self._api.read(Ref(JOB, namespace, child_of(name)))
        return View(main=main, pods=view.in_order(pods.items, entry.standing.starts), child=child)

    def _events(self, entry: Entry, seen: View) -> Sequence[Object]:
        """What was said of it and of what stands around it; a field selector knows whole names only."""
        return [
            event
            for fields in view.asked_of(entry.workload.name, seen)
            for event in self._api.list(EVENT, entry.main.namespace, fields=fields).items
        ]

    # --- writing

    def keep(self, entry: Entry) -> Entry:
        """Write down what its pods have written so far: they are about to be taken away. Raises Conflict."""
        seen = self._look(entry)
        return self._save(entry, view.with_starts(entry.standing, seen), seen, whole=True)

    def _save(self, entry: Entry, standing: Standing, seen: View, *, whole: bool = False) -> Entry:
        """With the output of pods that end. whole: of all of them. Raises Conflict."""
        logs: dict[int, str] = {}
        collected = list(standing.collected)
        for pod in seen.pods:
            uid = pod["metadata"]["uid"]
            over = view.is_over(pod)
            if uid in collected or not (whole or over or "deletionTimestamp" in pod["metadata"]):
                continue
            text = self.output(pod, view.number_of(pod, standing))
            number = standing.starts.index(uid) + 1
            if text and (kept := packed(text)) != entry.packed.get(number):
                logs[number] = kept
            if over:
                collected.append(uid)
        return self._ledger.save(entry, replace(standing, collected=tuple(collected)), logs)

    def output(self, pod: Object, attempt: int) -> str:
        """What it has written, with a line before that says which attempt it was; empty where there is nothing."""
        metadata = pod["metadata"]
        names = [container["name"] for container in pod["spec"]["containers"]]
        main = CONTAINER if CONTAINER in names else names[0]  # a chart calls it as it likes
        text = self._api.logs(metadata["namespace"], metadata["name"], main, LOG_LINES)
        if not text:
            return ""
        return f"{MARK} {attempt}, pod {metadata['name']}, {metadata['creationTimestamp']}\n{text.rstrip()}\n"

    def _said(self, entry: Entry) -> Entry:
        """Publish what is unsaid, then note that it was said. Raises what `publish` raises, and Conflict."""
        if not entry.standing.unsaid:
            return entry
        self._publish(entry.standing.unsaid)
        return self._ledger.save(entry, replace(entry.standing, unsaid=()))


def _has(main: Object, conditions: frozenset[str]) -> bool:
    """Whether one of these conditions holds; of a Workflow, its phase is one."""
    status = main.get("status") or {}
    held = {str(each["type"]) for each in status.get("conditions") or () if each["status"] == "True"}
    return not conditions.isdisjoint({str(status.get("phase")), *held})


def _to_be_restarted(entry: Entry, standing: Standing, seen: View) -> bool:
    """A server that was ready is started again by its Deployment: so often as its limits say, and as long as others
    of its pods answer, however often one of them dies or finds no node.
    """
    if entry.workload.kind != "server" or standing.phase != "ready":
        return False
    if seen.main and (seen.main.get("status") or {}).get("availableReplicas"):
        return True
    statuses = [one for pod in seen.pods for one in (pod.get("status") or {}).get("containerStatuses") or ()]
    return sum(int(one.get("restartCount", 0)) for one in statuses) <= entry.workload.limits.restarts
