"""The life of a run: checked, queued, started, watched, ended. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from events.budget_checked import BudgetChecked
from events.capacity_changed import CapacityChanged
from events.catalog import decode, encode
from events.checkpoint_written import CheckpointWritten
from events.config_committed import ConfigCommitted
from events.envelope import Event
from events.parts import ModelVersion, Origin
from events.retry_requested import RetryRequested
from events.training_finished import TrainingFinished
from events.training_progressed import TrainingProgressed
from events.training_queued import TrainingQueued
from events.training_started import TrainingStarted
from events.workload_changed import WorkloadChanged
from services.training.usage import began, ended, interrupted, spent_hours, used_up, weight
from shared import places
from shared.errors import Retry
from shared.experiment.check import Checked, check
from shared.identity import model_id, workload_name
from shared.record import Record
from shared.service import Decision, Speech, Wish

COMMIT_LENGTH = 12  # of a commit id that serves as a version
LOOK_AGAIN_SECONDS = 60.0  # once: of two tries at a time, the one that got the slot may have died
ASK_AGAIN_SECONDS = 3600.0  # whoever waits, even if nobody calls
STOPPED_SECONDS = 60.0  # after which a pod that was stopped and said nothing is looked after
ALIVE = frozenset({"QUEUED", "TRAINING"})  # a pod may be heard before its start is said


def key(event: Event) -> str | None:
    """`runs/<run_id>`; of the cluster's changes only those of our own jobs."""
    if event.name == "workload-changed":
        return event.data["key"] if event.data.get("service") == "training" else None
    return f"runs/{event.data['run_id']}"


class Heard(msgspec.Struct, frozen=True):
    """What is decided about, and when. The event's own time is when it happened."""

    event: Event
    now: datetime


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """See the module."""
    payload = decode(event)
    if isinstance(payload, WorkloadChanged) and record.died_before(event.id):
        raise Retry(
            f"{record.key} is dead: what its pod said may lie among the dead letters; redrive that first"
        )
    handlers: dict[type, Callable[[Record, Any, Heard], Decision | None]] = {
        ConfigCommitted: _committed,
        TrainingQueued: _queued,
        CapacityChanged: _called,
        BudgetChecked: _checked,
        TrainingStarted: _began,
        TrainingProgressed: _progressed,
        CheckpointWritten: _checkpoint,
        TrainingFinished: _finished,
        WorkloadChanged: _workload,
        RetryRequested: _retried,
    }
    return handlers[type(payload)](record, payload, Heard(event, now))


def _committed(record: Record, committed: ConfigCommitted, heard: Heard) -> Decision | None:
    if record.revision:
        return None  # the same content of the same folder is the same run
    checked = check(committed.folder, data_roots=committed.data_roots)
    return _refused(record, committed, checked) if checked.faults else _admitted(committed, checked, heard)


def _refused(record: Record, committed: ConfigCommitted, checked: Checked) -> Decision:
    faults = [str(fault) for fault in checked.faults]
    cause = f"{len(faults)} fault(s) in the config:\n" + "\n".join(faults)
    data = {"run_id": committed.run_id, "source": encode(committed.source), "faults": faults, "cause": cause}
    finished = TrainingFinished(run_id=committed.run_id, attempt=0, outcome="failed", cause=cause)
    return Decision(status="REJECTED", data=data, says=(Speech(finished, record.key),))


def _admitted(committed: ConfigCommitted, checked: Checked, heard: Heard) -> Decision:
    model = model_version(committed, checked.manifest)
    origin = Origin(source=committed.source, config=checked.config, manifest=checked.manifest)
    job = workload_name("train", committed.run_id)
    started = TrainingStarted(run_id=committed.run_id, model=model, origin=origin, job=job)
    data = {
        "run_id": committed.run_id,
        "model": encode(model),
        "source": encode(committed.source),
        "warnings": [str(warning) for warning in checked.warnings],
        "job": job,
        "started": encode(started),
        "asked": _asked(heard),
        "gpus": weight(checked.manifest["resources"]),
        "budget_hours": checked.manifest["resources"]["budget_hours"],
        "attempts": [],
        "checkpoints": [],
    }
    return Decision(status="QUEUED", data=data, wishes=(_launch(data),))


def _asked(heard: Heard) -> dict[str, str]:
    """When the job was asked for, and by which event; the same however often it is launched."""
    return {"at": heard.now.isoformat(), "cause": heard.event.id, "traceparent": heard.event.traceparent}


def _launch(data: dict[str, Any], *, patient: bool = True, delay: float = 0) -> Wish:
    return Wish("launch", {**data["started"], "asked": {**data["asked"], "patient": patient}}, delay)


def _queued(record: Record, queued: TrainingQueued, heard: Heard) -> Decision | None:
    """It asks again after a while, in case that nobody calls it: hours come back with the month."""
    if record.status != "QUEUED" or queued.job != record.data["job"]:
        return None
    place = {"place": queued.place, "waiting": queued.waiting, "why": queued.why, "at": heard.now.isoformat()}
    delay = ASK_AGAIN_SECONDS if record.data.get("queue") else LOOK_AGAIN_SECONDS
    wishes = (_launch(record.data, delay=delay),) if queued.patient else ()
    return Decision(status=record.status, data={**record.data, "queue": place}, wishes=wishes)


def _called(record: Record, _changed: CapacityChanged, _heard: Heard) -> Decision | None:
    wishes: Mapping[str, Wish] = {
        "QUEUED": _launch(record.data, patient=False),
        "TRAINING": _watch(record.data, patient=record.data.get("watched") != record.data["job"]),
    }
    if record.status not in wishes:
        return None
    return Decision(status=record.status, data=record.data, wishes=(wishes[record.status],))


def _watch(data: dict[str, Any], *, patient: bool, delay: float = 0) -> Wish:
    return Wish("watch", {"job": data["job"], "patient": patient}, delay)


def _checked(record: Record, checked: BudgetChecked, heard: Heard) -> Decision | None:
    """Told to stop once nothing is left; how it ends is the pod's word, or the cluster's, or nobody's."""
    data, job = record.data, record.data.get("job")
    if record.status not in ALIVE or checked.job != job or data.get("stopping"):
        return None
    if checked.over:
        stopping = {"job": job, "why": checked.over, "at": heard.now.isoformat()}
        wishes = (Wish("stop", {"job": job}), Wish("make-sure", {"job": job}, STOPPED_SECONDS))
        return Decision(status=record.status, data={**data, "stopping": stopping}, wishes=wishes)
    if not checked.patient:
        return None
    again = _watch(data, patient=True, delay=checked.seconds)
    return Decision(status=record.status, data={**data, "watched": job}, wishes=(again,))


def _began(record: Record, started: TrainingStarted, heard: Heard) -> Decision | None:
    """Its job was asked for. Where the pod was faster than this word, only that it was said is kept."""
    if started.job != record.data.get("job") or record.data.get("announced") == started.job:
        return None
    data = {**record.data, "announced": started.job, "queue": {}}
    data.setdefault("started_at", heard.event.time.isoformat())
    return Decision(status="TRAINING" if record.status == "QUEUED" else record.status, data=data)


def model_version(committed: ConfigCommitted, manifest: dict[str, Any]) -> ModelVersion:
    """The version this run makes: `model.yaml`'s semver, or the commit where it says `commit`."""
    version = manifest["version"]
    if version == "commit":
        version = committed.source.commit[:COMMIT_LENGTH]
    tenant = manifest["tenant"]
    identifier = model_id(tenant, manifest["name"], version)
    return ModelVersion(model_id=identifier, version=version, tenant=tenant, run_id=committed.run_id)


def _progressed(record: Record, progress: TrainingProgressed, heard: Heard) -> Decision | None:
    known, place = record.data.get("progress", {}), (progress.attempt, progress.step)
    if record.status not in ALIVE or place <= (known.get("attempt", 0), known.get("step", -1)):
        return None
    data = {**record.data, "progress": {**encode(progress), "at": heard.now.isoformat()}}
    return Decision(status=record.status, data=data)


def _checkpoint(record: Record, checkpoint: CheckpointWritten, heard: Heard) -> Decision | None:
    if record.revision == 0:
        return None
    if checkpoint.final:
        return _final(record, checkpoint, heard)
    entry = {
        "step": checkpoint.step,
        "uri": checkpoint.artifact.uri,
        "digest": checkpoint.artifact.manifest_digest,
    }
    others = [known for known in record.data.get("checkpoints", []) if known["step"] != checkpoint.step]
    checkpoints = sorted([*others, entry], key=lambda known: int(known["step"]))
    return Decision(status=record.status, data={**record.data, "checkpoints": checkpoints})


def _final(record: Record, checkpoint: CheckpointWritten, heard: Heard) -> Decision:
    """Its weights are there, and will be registered: a run that was said to have failed before has not."""
    final = {"metrics": checkpoint.metrics, "runtime": checkpoint.runtime}
    known = msgspec.structs.replace(record, data={**record.data, "final": final})
    if record.status != "FAILED":
        return Decision(status=record.status, data=known.data)
    attempts = record.data.get("attempts", [])
    return _spoken_for(known, attempts[-1]["attempt"] if attempts else 0, "", heard)


def _finished(record: Record, finished: TrainingFinished, heard: Heard) -> Decision | None:
    # That its weights are there holds whatever the cluster said of its job before; but how an earlier job failed
    # says nothing of this one.
    over = finished.outcome == "succeeded" and record.status == "FAILED"
    late = finished.outcome != "succeeded" and finished.job not in ("", record.data.get("job"))
    if late or (record.status not in ALIVE and not over):
        return None
    stopping = record.data.get("stopping") or {}
    final = finished.outcome == "failed" and record.data.get("final")
    if final or (finished.outcome == "preempted" and stopping):
        return _spoken_for(record, finished.attempt, stopping.get("why") or finished.cause, heard)
    if finished.outcome == "preempted":
        this = {"attempt": finished.attempt, "at": heard.now.isoformat()}
        preemptions = [*record.data.get("preemptions", []), this]
        attempts = interrupted(record.data.get("attempts", []), heard.event.time)
        data = _accounted({**record.data, "preemptions": preemptions, "attempts": attempts}, heard)
        return Decision(status=record.status, data=data)
    told = {"metrics": finished.metrics, "runtime": finished.runtime}
    status = "SUCCEEDED" if finished.outcome == "succeeded" else "FAILED"
    return _ended({**record.data, **told}, status, finished.cause, heard)


def _workload(record: Record, change: WorkloadChanged, heard: Heard) -> Decision | None:
    """A job that ended while the run still trains: the pod could not say so itself."""
    if record.status not in ALIVE or change.name != record.data["job"]:
        return None
    if change.phase not in ("failed", "succeeded"):
        attempts = began(record.data.get("attempts", []), change.name, change.attempt, heard.event.time)
        return Decision(status=record.status, data={**record.data, "attempts": attempts})
    cause = (
        f"{change.reason}: {change.message}" if change.phase == "failed" else "the job ended without a word"
    )
    stopping = record.data.get("stopping") or {}
    return _spoken_for(record, change.attempt, stopping.get("why") or cause, heard)


def _spoken_for(record: Record, attempt: int, cause: str, heard: Heard) -> Decision:
    """How it ended, which its pod could not say, or did not know: well, if its weights are there."""
    final = record.data.get("final")
    facts = {"run_id": record.name, "attempt": attempt, "job": record.data["job"]}
    failed = TrainingFinished(**facts, outcome="failed", cause=cause)
    finished = TrainingFinished(**facts, outcome="succeeded", **final) if final else failed
    says = (Speech(finished, record.key),)
    data = {**record.data, **(final or {})}
    return _ended(data, "SUCCEEDED" if final else "FAILED", finished.cause, heard, says=says)


def _ended(
    data: dict[str, Any], status: str, cause: str, heard: Heard, says: tuple[Speech, ...] = ()
) -> Decision:
    over = {
        "cause": cause,
        "queue": {},
        "stopping": {},
        "attempts": ended(data.get("attempts", []), heard.event.time),
        "finished_at": heard.now.isoformat(),
    }
    back = Wish("give-back", {"job": data["job"]})
    return Decision(status=status, data=_accounted({**data, **over}, heard), says=says, wishes=(back,))


def _accounted(data: dict[str, Any], heard: Heard) -> dict[str, Any]:
    return {**data, "gpu_hours": spent_hours(data, heard.now)}


def _retried(record: Record, request: RetryRequested, heard: Heard) -> Decision | None:
    """The same run under a new job, which goes on from the newest complete checkpoint."""
    if record.status != "FAILED":
        return None
    budget = request.budget_hours or record.data.get("budget_hours")
    spent = spent_hours(record.data, heard.now)
    if budget is not None and spent >= budget:
        return Decision(status="FAILED", data={**record.data, "cause": used_up(record.name, spent, budget)})
    retries = [
        *record.data.get("retries", []),
        {"by": request.by, "reason": request.reason, "at": heard.now.isoformat()},
    ]
    job = workload_name("train", request.run_id, str(len(retries) + 1))
    kept = places.kept_elsewhere(record.name, record.data.get("checkpoints", []))
    asked = {**_asked(heard), "prefix": kept}
    fresh = {"cause": "", "progress": {}, "asked": asked, "budget_hours": budget}
    data = {
        **record.data,
        **fresh,
        "job": job,
        "started": {**record.data["started"], "job": job},
        "retries": retries,
    }
    return Decision(status="QUEUED", data=data, wishes=(_launch(data),))
