"""The life of a run: checked, started, watched, ended. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from events.catalog import decode, encode
from events.checkpoint_written import CheckpointWritten
from events.config_committed import ConfigCommitted
from events.envelope import Event
from events.parts import ModelVersion, Origin
from events.retry_requested import RetryRequested
from events.training_finished import TrainingFinished
from events.training_progressed import TrainingProgressed
from events.training_started import TrainingStarted
from events.workload_changed import WorkloadChanged
from shared.errors import Retry
from shared.experiment.check import Checked, check
from shared.identity import model_id, workload_name
from shared.record import Record
from shared.service import Decision, Speech, Wish

COMMIT_LENGTH = 12  # of a commit id that serves as a version


def key(event: Event) -> str | None:
    """`runs/<run_id>`; of the cluster's changes only those of our own jobs."""
    if event.name == "workload-changed":
        return event.data["key"] if event.data.get("service") == "training" else None
    return f"runs/{event.data['run_id']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """See the module."""
    payload = decode(event)
    if isinstance(payload, WorkloadChanged) and record.unheard not in ("", event.id):
        raise Retry(
            f"{record.key} is dead: what its pod said may lie among the dead letters; redrive that first"
        )
    handlers: dict[type, Callable[[Record, Any, datetime], Decision | None]] = {
        ConfigCommitted: _committed,
        TrainingProgressed: _progressed,
        CheckpointWritten: _checkpoint,
        TrainingFinished: _finished,
        WorkloadChanged: _workload,
        RetryRequested: _retried,
    }
    return handlers[type(payload)](record, payload, now)


def _committed(record: Record, committed: ConfigCommitted, now: datetime) -> Decision | None:
    if record.revision:
        return None  # the same content of the same folder is the same run
    checked = check(committed.folder)
    return (
        _refused(record, committed, checked) if checked.faults else _started(record, committed, checked, now)
    )


def _refused(record: Record, committed: ConfigCommitted, checked: Checked) -> Decision:
    faults = [str(fault) for fault in checked.faults]
    cause = f"{len(faults)} fault(s) in the config:\n" + "\n".join(faults)
    data = {"run_id": committed.run_id, "source": encode(committed.source), "faults": faults, "cause": cause}
    finished = TrainingFinished(run_id=committed.run_id, attempt=0, outcome="failed", cause=cause)
    return Decision(status="REJECTED", data=data, says=(Speech(finished, record.key),))


def _started(record: Record, committed: ConfigCommitted, checked: Checked, now: datetime) -> Decision:
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
        "checkpoints": [],
        "started_at": now.isoformat(),
    }
    return Decision(
        status="TRAINING",
        data=data,
        wishes=(Wish("launch", encode(started)),),
    )


def model_version(committed: ConfigCommitted, manifest: dict[str, Any]) -> ModelVersion:
    """The version this run makes: `model.yaml`'s semver, or the commit where it says `commit`."""
    version = manifest["version"]
    if version == "commit":
        version = committed.source.commit[:COMMIT_LENGTH]
    tenant = manifest["tenant"]
    identifier = model_id(tenant, manifest["name"], version)
    return ModelVersion(model_id=identifier, version=version, tenant=tenant, run_id=committed.run_id)


def _progressed(record: Record, progress: TrainingProgressed, now: datetime) -> Decision | None:
    known = record.data.get("progress", {})
    if record.status != "TRAINING" or _place(progress) <= (known.get("attempt", 0), known.get("step", -1)):
        return None
    data = {**record.data, "progress": {**encode(progress), "at": now.isoformat()}}
    return Decision(status=record.status, data=data)


def _place(progress: TrainingProgressed) -> tuple[int, int]:
    return progress.attempt, progress.step


def _checkpoint(record: Record, checkpoint: CheckpointWritten, _now: datetime) -> Decision | None:
    if record.revision == 0 or checkpoint.final:
        return None
    entry = {
        "step": checkpoint.step,
        "uri": checkpoint.artifact.uri,
        "digest": checkpoint.artifact.manifest_digest,
    }
    others = [known for known in record.data.get("checkpoints", []) if known["step"] != checkpoint.step]
    checkpoints = sorted([*others, entry], key=lambda known: int(known["step"]))
    return Decision(status=record.status, data={**record.data, "checkpoints": checkpoints})


def _finished(record: Record, finished: TrainingFinished, now: datetime) -> Decision | None:
    # That its weights are there holds whatever the cluster said of its job before.
    over = finished.outcome == "succeeded" and record.status == "FAILED"
    if record.status != "TRAINING" and not over:
        return None
    if finished.outcome == "preempted":
        preemptions = [
            *record.data.get("preemptions", []),
            {"attempt": finished.attempt, "at": now.isoformat()},
        ]
        return Decision(status=record.status, data={**record.data, "preemptions": preemptions})
    data = {
        **record.data,
        "metrics": finished.metrics,
        "runtime": finished.runtime,
        "cause": finished.cause,
        "finished_at": now.isoformat(),
    }
    return Decision(status="SUCCEEDED" if finished.outcome == "succeeded" else "FAILED", data=data)


def _workload(record: Record, change: WorkloadChanged, now: datetime) -> Decision | None:
    """A job that ended while the run still trains: the pod could not say so itself."""
    ended = change.phase in ("failed", "succeeded")
    if record.status != "TRAINING" or not ended or change.name != record.data["job"]:
        return None
    cause = (
        f"{change.reason}: {change.message}" if change.phase == "failed" else "the job ended without a word"
    )
    finished = TrainingFinished(
        run_id=record.data["run_id"], attempt=change.attempt, outcome="failed", cause=cause
    )
    data = {**record.data, "cause": cause, "finished_at": now.isoformat()}
    return Decision(status="FAILED", data=data, says=(Speech(finished, record.key),))


def _retried(record: Record, request: RetryRequested, now: datetime) -> Decision | None:
    """The same run under a new job, which goes on from the newest complete checkpoint."""
    if record.status != "FAILED":
        return None
    retries = [
        *record.data.get("retries", []),
        {"by": request.by, "reason": request.reason, "at": now.isoformat()},
    ]
    job = workload_name("train", request.run_id, str(len(retries) + 1))
    started = {**record.data["started"], "job": job}
    data = {**record.data, "job": job, "started": started, "retries": retries, "cause": "", "progress": {}}
    return Decision(status="TRAINING", data=data, wishes=(Wish("launch", started),))
