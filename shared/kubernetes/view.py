"""What is to be seen of a workload now, and what follows from it for how it stands: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from shared.kubernetes.api import Object
from shared.kubernetes.causes import Cause, cause_of, settled
from shared.kubernetes.kinds import JOB_SET
from shared.kubernetes.ledger import FINISHED, Standing
from shared.kubernetes.manifests.job import QUEUE
from shared.kubernetes.manifests.jobset import child_of
from shared.kubernetes.pod_causes import of_pod
from shared.kubernetes.settings import KubernetesSettings
from shared.local.cluster import state, verdict
from shared.ports.cluster import Workload

_RESTART = "jobset.sigs.k8s.io/restart-attempt"
_STARTING = "Starting"
_PREEMPTED = "Preempted"
_HOMELESS = "Unschedulable"
_DONE = frozenset({"Succeeded", "Failed"})
_HELD = frozenset({"Queued", "Suspended"})
_WAITING_PODS = 8  # of which events are asked for: the others of many nodes wait for the same


class View(msgspec.Struct, frozen=True, kw_only=True):
    """main: None where it is gone. pods: in the order of their starts. child: the Job of a JobSet that failed."""

    main: Object | None
    pods: Sequence[Object]
    events: Sequence[Object] = ()
    child: Object | None = None


def in_order(pods: Sequence[Object], starts: Sequence[str]) -> list[Object]:
    """Known ones as they were known; new ones by birth, which is told in whole seconds: the ended ones first."""
    places = {uid: place for place, uid in enumerate(starts)}

    def key(pod: Object) -> tuple[int, str, bool, str]:
        metadata = pod["metadata"]
        place = places.get(metadata["uid"], len(places))
        return place, metadata.get("creationTimestamp") or "", not is_over(pod), metadata["name"]

    return sorted(pods, key=key)


def with_starts(standing: Standing, view: View) -> Standing:
    """With the pods that were not seen before."""
    new = [uid for pod in view.pods if (uid := pod["metadata"]["uid"]) not in standing.starts]
    return replace(standing, starts=(*standing.starts, *new)) if new else standing


def asked_of(name: str, view: View) -> list[str]:
    """Field selectors of the events that may say why it waits: of itself, of its pods that wait, of a JobSet's Job.

    Kueue speaks of its own Workload, whose name holds ours and a hash that nobody else can know.
    """
    waiting = [pod["metadata"]["name"] for pod in view.pods if not is_over(pod) and not is_ready(pod)]
    names = [name, *waiting[:_WAITING_PODS]]
    if view.main and view.main["kind"] == JOB_SET.kind:
        names.append(child_of(name))
    queued = view.main is not None and QUEUE in (view.main["metadata"].get("labels") or {})
    return [f"involvedObject.name={each}" for each in names] + ["involvedObject.kind=Workload"] * queued


def cause(view: View, settings: KubernetesSettings, now: datetime) -> Cause:
    """How it stands by its main object, and why."""
    assert view.main
    pods = [_aged(pod, place) for place, pod in enumerate(view.pods)]
    found = cause_of(view.main, pods, view.events, view.child)
    if found.reason == _HOMELESS:
        found = replace(found, patience=settings.unschedulable_seconds)
    return settled(found, now)


def followed(workload: Workload, standing: Standing, view: View, found: Cause, now: datetime) -> Standing:
    """How it stands now, with the events of what it went through since."""
    for number in _begun(standing, view):
        if number > standing.attempt or standing.phase == "pending":
            before = _cause_before(standing, view, number)
            running = replace(
                standing,
                attempt=number,
                phase="running",
                reason=before.reason,
                message=before.message,
                exit_code=None,
                doom="",
                began=standing.began or now.timestamp(),
            )
            standing = _saying(workload, running, now)
    standing = _doomed(standing, view)
    if found.phase == "ready" and standing.phase == "running":
        return _saying(workload, replace(standing, phase="ready", reason="", message=""), now)
    if found.phase == "pending":
        return _pending(standing, view, found)
    return standing


def in_time(workload: Workload, standing: Standing, view: View, found: Cause, now: datetime) -> Cause:
    """A JobSet makes its Job anew at each restart, and with it the Job's deadline; the whole has one too."""
    limit = workload.limits.deadline_seconds
    several = view.main is not None and view.main["kind"] == JOB_SET.kind
    if not several or found.phase in FINISHED or not (limit and standing.began):
        return found
    if now.timestamp() < standing.began + limit:
        return found
    return Cause(phase="failed", reason="DeadlineExceeded", message=f"it did not end within {limit:g} s")


def finished(workload: Workload, standing: Standing, found: Cause, now: datetime) -> Standing:
    """It is over, and it is said."""
    assert found.phase in FINISHED
    over = replace(
        standing,
        phase=found.phase,
        reason=found.reason,
        message=found.message,
        exit_code=found.exit_code,
        address="",
        ending=None,
        finished_at=now.timestamp(),
    )
    return _saying(workload, over, now)


def stopped(standing: Standing, now: datetime) -> Standing:
    """It is over as was asked, and nothing is said."""
    return replace(
        standing,
        phase="failed",
        reason=state.STOPPED,
        message="",
        address="",
        ending=None,
        finished_at=now.timestamp(),
    )


def addressed(standing: Standing, workload: Workload, view: View, settings: KubernetesSettings) -> Standing:
    """With `host:port` of a server: its Service's, or that of its pod which is ready."""
    if workload.kind != "server" or view.main is None:
        return standing
    if settings.address == "service":
        metadata = view.main["metadata"]
        return replace(standing, address=f"{metadata['name']}.{metadata['namespace']}.svc:{settings.port}")
    hosts = [pod["status"]["podIP"] for pod in view.pods if is_ready(pod) and pod["status"].get("podIP")]
    return replace(standing, address=f"{hosts[-1]}:{settings.port}") if hosts else standing


def is_over(pod: Mapping[str, object]) -> bool:
    """Whether it ended."""
    status = pod.get("status")
    return isinstance(status, dict) and status.get("phase") in _DONE


def is_ready(pod: Object) -> bool:
    """Whether it takes requests."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def number_of(pod: Object, standing: Standing) -> int:
    """Of its attempt: nodes of one JobSet start together, all others one after the other."""
    restart = (pod["metadata"].get("labels") or {}).get(_RESTART)
    return int(restart) + 1 if restart is not None else standing.starts.index(pod["metadata"]["uid"]) + 1


def _begun(standing: Standing, view: View) -> Iterator[int]:
    """Attempts of which a container has begun; those of a server are one, however often it is restarted."""
    server = view.main is not None and view.main["kind"] == "Deployment"
    for pod in view.pods:
        states = [one.get("state") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()]
        if any("running" in each or "terminated" in each for each in states):
            yield 1 if server else number_of(pod, standing)


def _cause_before(standing: Standing, view: View, number: int) -> Cause:
    """Why there is another attempt."""
    earlier = [pod for pod in view.pods if number_of(pod, standing) == number - 1 and is_over(pod)]
    if earlier:
        return of_pod(earlier[0], view.events)
    if standing.doom:
        return Cause(phase="failed", reason=_PREEMPTED, message=standing.doom)
    if standing.phase == "pending" and number > 1:
        return Cause(phase="failed", reason=standing.reason, message=standing.message)
    return Cause(phase="failed", reason="Vanished" if number > 1 else "")


def _doomed(standing: Standing, view: View) -> Standing:
    """A pod that is being taken away says why; it may be gone when the next one begins."""
    for pod in view.pods:
        for each in (pod.get("status") or {}).get("conditions") or ():
            told = each.get("message") or each.get("reason") or ""
            if (each["type"], each["status"]) == ("DisruptionTarget", "True") and not is_over(pod):
                return replace(standing, doom=told)
    return standing


def is_older(revision: str, main: Object) -> bool:
    """Whether a list was made before the object was written: both are numbers, or nobody can tell."""
    written = str(main["metadata"].get("resourceVersion") or "")
    return revision.isdigit() and written.isdigit() and int(revision) < int(written)


def _pending(standing: Standing, view: View, found: Cause) -> Standing:
    """It waits: for its first start, or, where the last one is over, for the next."""
    if standing.phase in {"running", "ready"}:
        current = [pod for pod in view.pods if number_of(pod, standing) == standing.attempt]
        if not all(is_over(pod) for pod in current) or (view.main and view.main["kind"] == "Deployment"):
            return standing
        standing = replace(standing, phase="pending", attempt=standing.attempt + 1)
    elif found.reason == _STARTING and standing.attempt > 1:
        return standing  # why it is started again says more
    began = (
        0 if found.reason in _HELD else standing.began
    )  # as a Job's deadline begins anew once it is let go
    return replace(standing, reason=found.reason, message=found.message, began=began)


def _aged(pod: Object, place: int) -> Object:
    """With a birth that tells the order of pods of one second."""
    metadata = pod["metadata"]
    born = str(metadata.get("creationTimestamp") or "")
    return (
        {**pod, "metadata": {**metadata, "creationTimestamp": f"{born.removesuffix('Z')}.{place:06d}Z"}}
        if born
        else pod
    )


def _saying(workload: Workload, standing: Standing, now: datetime) -> Standing:
    told = state.State(
        phase=standing.phase,
        attempt=standing.attempt,
        reason=standing.reason,
        message=standing.message,
        exit_code=standing.exit_code,
        address=standing.address,
    )
    return replace(standing, unsaid=(*standing.unsaid, verdict.changed(workload, told, now)))
