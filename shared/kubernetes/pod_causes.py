"""Why a pod is not running, or not any more, in words that a person understands: pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from shared.kubernetes.manifests.job import LOST_PEER, PREEMPTED
from shared.kubernetes.manifests.pod import CONTAINER

Map = Mapping[str, Any]
Phase = Literal["pending", "running", "ready", "succeeded", "failed"]

_SIGNALS = 128
_PULL = frozenset({"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable",
                   "ImageInspectError"})  # fmt: skip
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MOUNT = frozenset({"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"})
# How long, in seconds, something that mends itself seldom is waited for before it counts as failed.
PATIENCE = MappingProxyType(
    {"ImagePullBackOff": 600, "CreateContainerConfigError": 600, "Unschedulable": 3600, "FailedCreate": 600}
)
_TAKEN = MappingProxyType(
    {
        "PreemptionByScheduler": "its place was given to a pod of higher priority",
        "DeletionByTaintManager": "its node does not take it any more",
        "EvictionByEvictionAPI": "its node was emptied",
        "DeletionByPodGC": "its node is gone",
        "TerminationByKubelet": "its node was shut down, as spot machines are",
    }
)
_MENDS = (
    (r"insufficient nvidia\.com/gpu", "no node has enough free GPUs: wait, lower resources.gpus, or enlarge the pool"),
    (r"insufficient memory", "no node has enough free memory: lower resources.memory_gb, or add larger nodes"),
    (r"insufficient ephemeral-storage",
     "no node has enough free disk: lower resources.disk_gb, or give the nodes larger disks"),
    (r"insufficient cpu", "no node has enough free CPUs: wait, or add nodes"),
    (r"node affinity/selector|node\(s\) didn't match|node selector",
     "no node is of the kind that is asked for: correct resources.gpu and resources.spot, or add such a pool"),
    (r"untolerated taint", "the nodes that would fit keep other pods away (taints)"),
)  # fmt: skip
_WORDS = 2000  # characters of a message


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """How something stands, and why. patience: seconds after `since` (RFC 3339) at which a pending one has failed.

    reason: one word, as in `workload-changed`: OutOfMemory, DeadlineExceeded, Killed, Preempted, Error, NotReady,
    Vanished, and of Kubernetes besides: Evicted, LostPeer, ImagePullBackOff, CreateContainerConfigError,
    Unschedulable, FailedCreate, QuotaExceeded, Queued, Starting.
    """

    phase: Phase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    since: str = ""
    patience: float | None = None


def of_pod(pod: Map, events: Sequence[Map] = ()) -> Cause:
    """events: of this pod, any order."""
    status = pod.get("status") or {}
    phase = status.get("phase", "Pending")
    ended = _terminated(status)
    if phase == "Succeeded" or (ended and ended.get("exitCode") == 0 and phase != "Failed"):
        return Cause(phase="succeeded", exit_code=0, message="")
    if phase == "Failed" or ended:
        return _death(pod, ended or {})
    if phase == "Running" and not _waiting(status):
        return Cause(phase="running")
    return _hindrance(pod, events)


def _death(pod: Map, ended: Map) -> Cause:
    status = pod.get("status") or {}
    said = str(ended.get("message") or "").strip()[-_WORDS:]
    code = ended.get("exitCode")
    reason, message = _why(pod, ended, said)
    since = str(ended.get("finishedAt") or status.get("startTime") or "")
    return Cause(phase="failed", reason=reason, message=message, exit_code=code, since=since)


def _why(pod: Map, ended: Map, said: str) -> tuple[str, str]:
    """Reason and message; the first that fits says most."""
    status = pod.get("status") or {}
    taken = _condition(status, "DisruptionTarget")
    told = str(status.get("message") or "")
    if status.get("reason") == "Evicted":
        return "Evicted", _joined(*_evicted(told), said)
    if ended.get("reason") == "OOMKilled":
        return "OutOfMemory", _joined(_out_of_memory(pod), said)
    if taken.get("status") == "True":
        why = _TAKEN.get(str(taken.get("reason")), str(taken.get("message") or "it was taken away"))
        return "Preempted", _joined(why, said)
    if status.get("reason") == "DeadlineExceeded":
        return "DeadlineExceeded", _joined("it did not end in time", said)
    return _by_end(ended, told, said)


def _by_end(ended: Map, told: str, said: str) -> tuple[str, str]:
    code = ended.get("exitCode")
    if ended.get("reason") in ("ContainerCannotRun", "StartError"):
        return "Error", _joined("its container could not be started", str(ended.get("message") or ""))
    if code is None:
        return "Vanished", _joined(told or "it was gone, and nobody saw it end", said)
    if code == 0:
        return "Error", told or "another container of its pod failed"
    return _by_code(int(code), said)


def _by_code(code: int, said: str) -> tuple[str, str]:
    if code == PREEMPTED:
        return "Preempted", said
    if code == LOST_PEER:
        return "LostPeer", _joined("another node of the run was lost", said)
    if code > _SIGNALS:
        return "Killed", _joined(f"killed by {_signal_name(code - _SIGNALS)}", said)
    return "Error", said or f"it ended with exit code {code} and wrote nothing"


def _evicted(told: str) -> Iterator[str]:
    yield told
    if "ephemeral" in told or "emptydir" in told.lower() or "local storage" in told:
        yield "its disk was full: raise resources.disk_gb, or keep fewer checkpoints (save_total_limit)"
    elif "memory" in told:
        yield "its node ran out of memory: say with resources.memory_gb what it needs"


def _out_of_memory(pod: Map) -> str:
    limits = (_main(pod.get("spec") or {}).get("resources") or {}).get("limits") or {}
    limit = f" of {limits['memory']}" if "memory" in limits else ""
    return (
        f"it used more memory than its limit{limit}: lower per_device_train_batch_size or cutoff_len, or raise"
        " resources.memory_gb"
    )


def _hindrance(pod: Map, events: Sequence[Map]) -> Cause:
    """Why a pod that shall run does not yet."""
    status = pod.get("status") or {}
    waiting = _waiting(status) or {}
    reason, told = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    since = str((pod.get("metadata") or {}).get("creationTimestamp") or "")
    if reason in _PULL:
        return _pending("ImagePullBackOff", _unpullable(pod, told or _newest(events, {"Failed"})), since)
    if reason in _CONFIG:
        return _pending("CreateContainerConfigError", _unmakeable(pod, told), since)
    if reason == "CrashLoopBackOff":
        return _death(pod, _last_state(status))
    scheduled = _condition(status, "PodScheduled")
    if scheduled.get("status") == "False":
        return _unscheduled(pod, scheduled, events)
    stuck = _newest(events, _MOUNT)
    if stuck:
        return _pending("Starting", stuck, since)
    return Cause(phase="pending", reason="Starting", since=since)


def _unscheduled(pod: Map, scheduled: Map, events: Sequence[Map]) -> Cause:
    since = str(
        scheduled.get("lastTransitionTime") or (pod.get("metadata") or {}).get("creationTimestamp") or ""
    )
    told = str(scheduled.get("message") or "")
    if scheduled.get("reason") == "SchedulingGated":
        return Cause(phase="pending", reason="Queued", message="it waits in its queue for quota", since=since)
    last = _last_of(events, {"TriggeredScaleUp", "NotTriggerScaleUp", "FailedScaleUp"})
    if last.get("reason") == "TriggeredScaleUp":
        coming = "a node is being made for it"
        return Cause(phase="pending", reason="Starting", message=_joined(coming, told), since=since)
    mends = [mend for pattern, mend in _MENDS if re.search(pattern, told, re.IGNORECASE)]
    refused = f"no node is added: {last['message']}" if last.get("message") else ""
    return _pending("Unschedulable", _joined(*mends, _asked(pod), told, refused), since)


def _asked(pod: Map) -> str:
    """What the pod asks of a node: the half of the explanation that the scheduler leaves out."""
    spec = pod.get("spec") or {}
    requests = (_main(spec).get("resources") or {}).get("requests") or {}
    words = [f"{value} {name}" for name, value in sorted(requests.items())]
    words += [
        f"a node with {name}={value}" for name, value in sorted((spec.get("nodeSelector") or {}).items())
    ]
    return f"it asks for {', '.join(words)}" if words else ""


def _unpullable(pod: Map, told: str) -> str:
    image = _main(pod.get("spec") or {}).get("image", "")
    return _joined(
        f"image {image} cannot be pulled: correct KUZNIA_K8S_TRAINER_IMAGE or KUZNIA_K8S_ENGINE_IMAGE, or let the"
        " nodes read that registry",
        told,
    )


def _unmakeable(pod: Map, told: str) -> str:
    namespace = (pod.get("metadata") or {}).get("namespace", "")
    missing = re.search(r'(secret|configmap) "([^"]+)" not found', told, re.IGNORECASE)
    if missing:
        return f"{missing[1].lower()} {missing[2]} is not in namespace {namespace}: make it there"
    return _joined("its container cannot be made", told)


def _pending(reason: str, message: str, since: str) -> Cause:
    patience = PATIENCE.get(reason)
    return Cause(phase="pending", reason=reason, message=message[:_WORDS], since=since, patience=patience)


def _main(spec: Map) -> Map:
    containers: list[Map] = spec.get("containers") or [{}]
    return next((one for one in containers if one.get("name") == CONTAINER), containers[0])


def _state(status: Map) -> Map:
    """Of the container that matters: of one before it, where that waits or has failed."""
    for one in status.get("initContainerStatuses") or []:
        state = one.get("state") or {}
        if "waiting" in state or (state.get("terminated") or {}).get("exitCode"):
            found: Map = one
            return found
    statuses: list[Map] = status.get("containerStatuses") or [{}]
    return next((one for one in statuses if one.get("name") == CONTAINER), statuses[0])


def _terminated(status: Map) -> Map | None:
    return (_state(status).get("state") or {}).get("terminated")


def _waiting(status: Map) -> Map | None:
    return (_state(status).get("state") or {}).get("waiting")


def _last_state(status: Map) -> Map:
    return (_state(status).get("lastState") or {}).get("terminated") or {}


def _condition(status: Map, kind: str) -> Map:
    return next((one for one in status.get("conditions") or [] if one.get("type") == kind), {})


def _last_of(events: Sequence[Map], reasons: set[str] | frozenset[str]) -> Map:
    """The newest event with one of the reasons; empty where there is none."""
    found = [event for event in events if event.get("reason") in reasons]
    return max(found, key=when, default={})


def _newest(events: Sequence[Map], reasons: set[str] | frozenset[str]) -> str:
    return str(_last_of(events, reasons).get("message") or "")


def when(event: Map) -> str:
    """Time of an event, RFC 3339, so that the order of texts is that of times."""
    metadata = event.get("metadata") or {}
    return str(
        (event.get("series") or {}).get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or metadata.get("creationTimestamp")
        or ""
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _joined(*parts: str) -> str:
    return "\n".join(dict.fromkeys(part.strip() for part in parts if part and part.strip()))
