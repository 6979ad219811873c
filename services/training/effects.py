"""What a run may ask for: its job, under a name made of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events.catalog import encode
from events.training_finished import TrainingFinished
from events.training_started import TrainingStarted
from shared import places
from shared.ports.cluster import Limits, Workload
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

GIGABYTE = 1024**3


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`launch`: claim the version, then ask the cluster for the job."""

    def launch(do: Do, record: Record) -> Sequence[Speech]:
        started = msgspec.convert(do.arguments, TrainingStarted)
        holder = _claim(ports, started)
        if holder != started.run_id:
            return [Speech(_taken(started, holder), record.key)]
        ports.cluster.apply(_workload(started, do, record))
        # Not before: a run that has not got its version must not be measured.
        return [Speech(started, record.key)]

    return {"launch": launch}


def _claim(ports: Ports, started: TrainingStarted) -> str:
    """The run that owns this version: ours, if we are the first to ask. Raises Conflict: the next try finds whose."""
    key = f"claims/{started.model.key}"
    claim = ports.store.load(key)
    if claim.revision == 0:
        now = ports.clock.now()
        data = {"run_id": started.run_id}
        claim = ports.store.commit(
            Record(key=key, status="CLAIMED", data=data, created_at=now, updated_at=now)
        )
    return str(claim.data["run_id"])


def _taken(started: TrainingStarted, holder: str) -> TrainingFinished:
    cause = (
        f"version {started.model.version} of {started.model.model_id} was already made by run {holder} from other"
        f" content: raise `version` in {started.origin.source.experiment}/model.yaml and push again"
    )
    return TrainingFinished(run_id=started.run_id, attempt=0, outcome="failed", cause=cause)


def _workload(started: TrainingStarted, do: Do, record: Record) -> Workload:
    resources: dict[str, Any] = started.origin.manifest.get("resources", {})
    limits = Limits(
        memory_bytes=int(float(resources.get("memory_gb") or 0) * GIGABYTE),
        deadline_seconds=float(resources.get("hours") or 0) * 3600,
    )
    document = {
        "run_id": started.run_id,
        "model": encode(started.model),
        "origin": encode(started.origin),
        "resources": resources,
        "cause": do.cause,
        "traceparent": do.traceparent,
    }
    if kept := places.kept_elsewhere(started.run_id, record.data.get("checkpoints", [])):
        document["prefix"] = kept
    return Workload(
        name=started.job,
        service="training",
        key=record.key,
        kind="job",
        module="services.training.pod",
        document=document,
        limits=limits,
        labels={"tenant": started.model.tenant, "run": started.run_id},
    )
