"""How a workload stands and why, from its main object, its pods and what was said of them: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from shared.kubernetes.manifests.job import QUEUE
from shared.kubernetes.manifests.jobset import child_of
from shared.kubernetes.pod_causes import PATIENCE, Cause, Map, of_pod, when

__all__ = ["Cause", "cause_of", "settled"]

_RESTART = "jobset.sigs.k8s.io/restart-attempt"
# Of several pods that ended, the first of these words tells what began it; the others died of that one's death.
_TELLING = ("Evicted", "OutOfMemory", "Error", "Killed", "Vanished", "Preempted", "LostPeer")
_NOT_ITS_OWN = frozenset({"Killed", "Vanished", "Preempted", "LostPeer"})
_QUOTA = "exceeded quota"


def cause_of(
    main: Map, pods: Sequence[Map] = (), events: Sequence[Map] = (), child: Map | None = None
) -> Cause:
    """main: Job, JobSet, Workflow or Deployment. pods: of all its attempts. events: of any of these.

    child: the Job of a JobSet, where that has failed. Raises KeyError for any other kind.
    """
    look = _LOOKS[str(main["kind"])]
    return look(main, _Seen(main, pods, events, child))


def settled(cause: Cause, now: datetime) -> Cause:
    """What was pending for longer than its patience has failed."""
    if cause.phase != "pending" or cause.patience is None or not cause.since:
        return cause
    if now < datetime.fromisoformat(cause.since) + timedelta(seconds=cause.patience):
        return cause
    return replace(cause, phase="failed", message=f"for {cause.patience:g} s: {cause.message}")


class _Seen:
    """What is to be seen around a main object."""

    def __init__(self, main: Map, pods: Sequence[Map], events: Sequence[Map], child: Map | None) -> None:
        self.main = main
        self.pods = sorted(pods, key=_born)
        self.events = events
        self.child: Map = child or {}

    def latest(self) -> list[Map]:
        """The pods of the last attempt."""
        if self.main["kind"] == "Deployment":
            return self.pods
        if not any(_RESTART in _labels(pod) for pod in self.pods):
            return self.pods[-1:]
        last = max(_restart(pod) for pod in self.pods)
        return [pod for pod in self.pods if _restart(pod) == last]

    def causes(self) -> list[Cause]:
        """Of each pod of the last attempt."""
        return [of_pod(pod, self.about(str(_metadata(pod).get("name")))) for pod in self.latest()]

    def about(self, name: str) -> list[Map]:
        """Events of an object of this name; Kueue's own object has the name of ours within its name."""
        return [event for event in self.events if _about(event, name)]

    def said(self, *reasons: str) -> str:
        """The newest message of the main object's events that has one of these reasons.

        Of a JobSet, its one Job says why there is no pod.
        """
        name = str(_metadata(self.main).get("name"))
        names = (name, child_of(name)) if self.main["kind"] == "JobSet" else (name,)
        found = [event for each in names for event in self.about(each) if event.get("reason") in reasons]
        return str(max(found, key=when, default={}).get("message") or "")


def _job(main: Map, seen: _Seen) -> Cause:
    done = _condition(main, "Complete") or _condition(main, "SuccessCriteriaMet")
    failed = _condition(main, "Failed") or _condition(main, "FailureTarget")
    return _batch(main, seen, done, failed)


def _jobset(main: Map, seen: _Seen) -> Cause:
    """A JobSet says by which of its rules it failed; of what, its Job does."""
    failed = _condition(main, "Failed")
    return _batch(
        main, seen, _condition(main, "Completed"), failed and (_condition(seen.child, "Failed") or failed)
    )


def _batch(main: Map, seen: _Seen, done: Map, failed: Map) -> Cause:
    if done:
        return Cause(phase="succeeded", exit_code=0)
    if failed:
        return _failed(seen, str(failed.get("reason") or ""), str(failed.get("message") or ""))
    if (main.get("spec") or {}).get("suspend") or _condition(main, "Suspended"):
        return _queued(main, seen)
    return _under_way(seen)


def _workflow(main: Map, seen: _Seen) -> Cause:
    status = main.get("status") or {}
    phase, message = status.get("phase", ""), str(status.get("message") or "")
    if phase == "Succeeded":
        return Cause(phase="succeeded", exit_code=0)
    if phase in ("Failed", "Error"):
        late = "deadline" in message.lower() or "max duration" in message.lower()
        return _failed(seen, "DeadlineExceeded" if late else "", message)
    return _under_way(seen)


def _deployment(main: Map, seen: _Seen) -> Cause:
    status, spec = main.get("status") or {}, main.get("spec") or {}
    current = status.get("observedGeneration", 0) >= _metadata(main).get("generation", 0)
    there = min(status.get("availableReplicas", 0), status.get("updatedReplicas", 0))
    if current and there >= spec.get("replicas", 1) > 0:
        return Cause(phase="ready")
    best = _most_telling(seen.causes())
    if best and best.phase == "failed" and best.reason not in _NOT_ITS_OWN:
        return best  # it would say so again
    late = _condition(main, "Progressing", "False")
    if late:
        unmade = _condition(main, "ReplicaFailure").get("message")
        why = best.message if best and best.message else str(unmade or late.get("message") or "")
        return Cause(phase="failed", reason=_late_word(best), message=why, exit_code=_code(best))
    under_way = _under_way(seen)
    return replace(under_way, phase="pending") if under_way.phase == "failed" else under_way


def _late_word(best: Cause | None) -> str:
    return best.reason if best and best.reason not in ("", "Starting") else "NotReady"


def _code(best: Cause | None) -> int | None:
    return best.exit_code if best else None


def _failed(seen: _Seen, reason: str, message: str) -> Cause:
    """It failed for good: the deadline says so itself, all else is told best by the pod that ended it."""
    if reason == "DeadlineExceeded":
        limit = _deadline(seen.main)
        within = f"it did not end within {limit} s" if limit else message
        return Cause(phase="failed", reason=reason, message=within, exit_code=_code(_ended(seen)))
    best = _ended(seen)
    if best is None:
        return Cause(phase="failed", reason="Vanished", message=message or "its pods are gone")
    restarts = len(seen.pods) - len(seen.latest())
    if reason != "BackoffLimitExceeded" or not restarts:
        return best
    return replace(best, message=f"{best.message}\n(after {len(seen.pods)} starts)".strip())


def _ended(seen: _Seen) -> Cause | None:
    return _most_telling([cause for cause in seen.causes() if cause.phase == "failed"])


def _most_telling(causes: Sequence[Cause]) -> Cause | None:
    ended = [cause for cause in causes if cause.phase == "failed"] or list(causes)
    order = {word: place for place, word in enumerate(_TELLING)}
    return min(ended, key=lambda cause: order.get(cause.reason, len(order)), default=None)


def _under_way(seen: _Seen) -> Cause:
    """Not over: as far as the slowest of its pods; a pod that ended will be followed by another."""
    causes = seen.causes()
    pending = [cause for cause in causes if cause.phase == "pending"]
    if pending:
        return max(pending, key=lambda cause: (cause.patience is not None, bool(cause.message)))
    if any(cause.phase == "running" for cause in causes):
        return Cause(phase="running")
    died = _most_telling(causes)
    if died and died.phase == "failed":
        return replace(died, phase="pending", since="", patience=None)
    return _unborn(seen) if not causes else Cause(phase="running")


def _unborn(seen: _Seen) -> Cause:
    """There is no pod: why it could not be made, if anybody said. Of a Deployment, its ReplicaSet's words are a
    condition of its own.
    """
    told = seen.said("FailedCreate") or str(_condition(seen.main, "ReplicaFailure").get("message") or "")
    since = str(_metadata(seen.main).get("creationTimestamp") or "")
    if _QUOTA in told:
        message = f"the tenant's quota is used up: it waits until other pods have ended\n{told}"
        return Cause(phase="pending", reason="QuotaExceeded", message=message, since=since)
    if told:
        patience = PATIENCE["FailedCreate"]
        return Cause(phase="pending", reason="FailedCreate", message=told, since=since, patience=patience)
    return Cause(phase="pending", reason="Starting", since=since)


def _queued(main: Map, seen: _Seen) -> Cause:
    queue = _labels(main).get(QUEUE, "")
    told = seen.said(
        "Pending", "QuotaReserved", "Inadmissible", "InadmissibleWorkload", "Preempted", "Stopped"
    )
    waits = f"it waits in queue {queue} for quota" if queue else "it is suspended"
    message = f"{waits}: {told}" if told else waits
    return Cause(phase="pending", reason="Queued" if queue else "Suspended", message=message)


def _deadline(main: Map) -> int:
    spec = main.get("spec") or {}
    if main["kind"] == "JobSet":
        spec = ((spec.get("replicatedJobs") or [{}])[0].get("template") or {}).get("spec") or {}
    return int(spec.get("activeDeadlineSeconds") or 0)


def _condition(main: Map, kind: str, status: str = "True") -> Map:
    conditions: list[Map] = (main.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if (one.get("type"), one.get("status")) == (kind, status)), {})


def _about(event: Map, name: str) -> bool:
    of = event.get("involvedObject") or event.get("regarding") or {}
    told = str(of.get("name") or "")
    return told == name or (of.get("kind") == "Workload" and f"-{name}-" in f"{told}-")


def _metadata(of: Map) -> Map:
    found: Map = of.get("metadata") or {}
    return found


def _labels(of: Map) -> Map:
    found: Map = _metadata(of).get("labels") or {}
    return found


def _restart(pod: Map) -> int:
    text = str(_labels(pod).get(_RESTART) or "0")
    return int(text) if text.isdecimal() else 0


def _born(pod: Map) -> tuple[str, str]:
    metadata = _metadata(pod)
    return str(metadata.get("creationTimestamp") or ""), str(metadata.get("name") or "")


_LOOKS: Mapping[str, Callable[[Map, _Seen], Cause]] = {
    "Job": _job,
    "JobSet": _jobset,
    "Workflow": _workflow,
    "Deployment": _deployment,
}
