"""What a run may ask for: its job, under a name made of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from events.capacity_changed import CapacityChanged
from events.catalog import encode
from events.training_finished import TrainingFinished
from events.training_queued import TrainingQueued
from events.training_started import TrainingStarted
from services.training.budget import check, spoken_for
from services.training.queue import Entry
from services.training.slots import ENDS, Slots, Turn
from services.training.usage import weight
from shared.errors import Conflict, Reject
from shared.ports.cluster import Cluster, Limits, Workload
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

GIGABYTE = 1024**3


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Beside what is to be started: when it was asked for, by which event, whether it asks again by itself, and
    prefix: where the run lies, if elsewhere than runs do. All of it decided once a job: the same job is asked for
    in the same words.
    """

    at: datetime
    cause: str
    traceparent: str = ""
    patient: bool = True
    prefix: str = ""


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`launch`: claim the version, take a slot, then ask the cluster for the job. `give-back`: the slot.

    `watch`: look at what is left of its hours. `stop`: the job, politely; `make-sure`: that it has ended.
    """

    def launch(do: Do, record: Record) -> Sequence[Speech]:
        started, asked = msgspec.convert(do.arguments, TrainingStarted), _asked(do)
        holder = _claim(ports, started)
        if holder != started.run_id:
            return [Speech(_taken(started, holder), record.key)]
        turn = Slots(ports.store, ports.clock).take(_entry(started, asked))
        offers = _offers(turn.offers, f"{started.run_id} asked")
        if turn.word == "waits":
            return [Speech(_queued(started, turn, asked), record.key), *offers]
        if refused := _asked_for(ports.cluster, turn, _workload(started, asked, record.key)):
            return [Speech(_not_run(started, refused), record.key), *offers]
        if turn.word in ("runs", "stale"):
            return []
        # Not before: a run that has not got its version must not be measured.
        return [Speech(started, record.key), *check(ports, _fresh(ports, record), patient=True), *offers]

    def give_back(do: Do, record: Record) -> Sequence[Speech]:
        ready = Slots(ports.store, ports.clock).give_back(record.name, do.arguments["job"])
        return _offers(ready, f"{record.name} has ended")

    def watch(do: Do, record: Record) -> Sequence[Speech]:
        run = _fresh(ports, record)
        over = run.status in ENDS or run.data["job"] != do.arguments["job"]
        return [] if over else check(ports, run, patient=do.arguments["patient"])

    def stop(do: Do, _record: Record) -> Sequence[Speech]:
        ports.cluster.stop(do.arguments["job"])
        return []

    def make_sure(do: Do, record: Record) -> Sequence[Speech]:
        return spoken_for(ports.cluster, _fresh(ports, record), do.arguments["job"])

    return {"launch": launch, "give-back": give_back, "watch": watch, "stop": stop, "make-sure": make_sure}


def _fresh(ports: Ports, record: Record) -> Record:
    """As it is now; the one at hand may have changed since it was decided."""
    return ports.store.load(record.key)


def _asked(do: Do) -> Asked:
    return msgspec.convert(do.arguments["asked"], Asked)


def _entry(started: TrainingStarted, asked: Asked) -> Entry:
    resources: dict[str, Any] = started.origin.manifest.get("resources", {})
    return Entry(
        run=started.run_id,
        job=started.job,
        tenant=started.model.tenant,
        priority=resources.get("priority", "normal"),
        gpus=weight(resources),
        at=asked.at,
    )


def _queued(started: TrainingStarted, turn: Turn, asked: Asked) -> TrainingQueued:
    return TrainingQueued(
        run_id=started.run_id,
        job=started.job,
        place=turn.place,
        waiting=turn.waiting,
        why=turn.why,
        patient=asked.patient,
    )


def _offers(runs: Sequence[str], why: str) -> list[Speech]:
    return [Speech(CapacityChanged(run_id=run, why=why), f"runs/{run}") for run in runs]


def _claim(ports: Ports, started: TrainingStarted) -> str:
    """The run that owns this version: ours, if we are the first to ask. Raises Conflict where nobody was."""
    key = f"claims/{started.model.key}"
    claim = ports.store.load(key)
    if claim.revision == 0:
        claim = _first(ports, key, started.run_id)
    return str(claim.data["run_id"])


def _first(ports: Ports, key: str, run_id: str) -> Record:
    now = ports.clock.now()
    claim = Record(key=key, status="CLAIMED", data={"run_id": run_id}, created_at=now, updated_at=now)
    try:
        return ports.store.commit(claim)
    except Conflict:  # another was first; to have been second is an answer, not a failed attempt
        found = ports.store.load(key)
        if found.revision == 0:
            raise
        return found


def _asked_for(cluster: Cluster, turn: Turn, workload: Workload) -> str:
    """Ask for it, if it is its turn. Why the cluster will never run it, or empty. Raises Reject where something else
    has its name.
    """
    if turn.word not in ("granted", "runs"):
        return ""
    try:
        cluster.apply(workload)
    except Reject as error:
        if cluster.status(workload.name) is not None:
            raise
        return str(error)
    return ""


def _not_run(started: TrainingStarted, why: str) -> TrainingFinished:
    """An end, and no death: who is dead keeps the slot that others wait for."""
    cause = f"the cluster will not run it: {why}"
    return TrainingFinished(run_id=started.run_id, attempt=0, outcome="failed", cause=cause, job=started.job)


def _taken(started: TrainingStarted, holder: str) -> TrainingFinished:
    cause = (
        f"version {started.model.version} of {started.model.model_id} belongs to run {holder}, which has other"
        f" content: raise `version` in {started.origin.source.experiment}/model.yaml and push again; if that run"
        f" failed, `kuznia retry {holder}` tries it as it was"
    )
    return TrainingFinished(run_id=started.run_id, attempt=0, outcome="failed", cause=cause, job=started.job)


def _workload(started: TrainingStarted, asked: Asked, key: str) -> Workload:
    resources: dict[str, Any] = started.origin.manifest.get("resources", {})
    limits = Limits(
        memory_bytes=int(float(resources.get("memory_gb") or 0) * GIGABYTE),
        deadline_seconds=float(resources.get("hours") or 0) * 3600,
    )
    document = {
        "run_id": started.run_id,
        "job": started.job,
        "model": encode(started.model),
        "origin": encode(started.origin),
        "resources": resources,
        "cause": asked.cause,
        "traceparent": asked.traceparent,
    }
    if asked.prefix:
        document["prefix"] = asked.prefix
    return Workload(
        name=started.job,
        service="training",
        key=key,
        kind="job",
        module="services.training.pod",
        document=document,
        limits=limits,
        labels={"tenant": started.model.tenant, "run": started.run_id},
    )
