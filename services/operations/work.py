"""Checks of what is under way: every push and commit has its consequence, every moving state somebody who moves it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shared.identity import workload_name
from shared.operations.doctor import Finding, Patient
from shared.operations.engines import server_of
from shared.operations.reading import every_event, every_record
from shared.ports.bus import Query
from shared.ports.cluster import Status
from shared.record import Do, Record

ALIVE = frozenset({"pending", "running", "ready"})


def pushes(patient: Patient) -> Iterator[Finding]:
    """Every push that was accepted has been decided, waits, or is dead."""
    pending = _pending(patient)
    for logged in every_event(patient.bus, Query(name="push-received")):
        event = logged.event
        if event.id in pending or patient.operations.decisions(event=event.id):
            continue
        yield _replay("pushes", event.id, event.subject, "this push was accepted, and nobody decided it")


def commits(patient: Patient) -> Iterator[Finding]:
    """Every committed config has its run."""
    pending = _pending(patient)
    for logged in every_event(patient.bus, Query(name="config-committed")):
        event = logged.event
        run = patient.store.load(f"runs/{event.data['run_id']}")
        if run.revision == 0 and event.id not in pending:
            yield _replay("commits", event.id, event.subject, "this commit has no run")


def runs(patient: Patient) -> Iterator[Finding]:
    """A run that trains has a job that lives, and says something now and then."""
    for run in every_record(patient.store, "runs"):
        if run.status != "TRAINING" or run.dead:
            continue
        quiet = patient.since(run.updated_at)
        gone = _gone(patient, run, run.data.get("job", ""))
        if gone and quiet > patient.patience.settle:
            mend = f"`kuznia logs {run.name}` for why; `kuznia retry {run.name}` once the run has failed"
            yield Finding(check="runs", what=f"trains, but its job {gone}", where=run.key, mend=mend)
        elif quiet > patient.patience.quiet:
            mend = f"`kuznia logs {run.name}`; its job ends by itself at `resources.hours` of model.yaml"
            yield Finding(
                check="runs", what=f"has said nothing for {quiet / 60:.0f} minutes", where=run.key, mend=mend
            )


def evaluations(patient: Patient) -> Iterator[Finding]:
    """What is being measured has jobs that live, or waits for a training."""
    for evaluation in every_record(patient.store, "evaluations"):
        if evaluation.status != "MEASURING" or evaluation.dead:
            continue
        for role, job in _measuring(evaluation).items():
            gone = _gone(patient, evaluation, job)
            if gone and patient.since(evaluation.updated_at) > patient.patience.settle:
                yield Finding(
                    check="evaluations",
                    what=f"measures the {role} model, but job {job} {gone}",
                    where=evaluation.key,
                    mend=f"`kuznia logs {job}` for why; `kuznia trace {evaluation.name}` for what is missing",
                )


def starts(patient: Patient) -> Iterator[Finding]:
    """A version that is starting has an engine on its way."""
    for release in every_record(patient.store, "releases"):
        for name, version in release.data.get("versions", {}).items():
            engine = server_of(patient.store, version)
            if version.get("state") != "starting" or release.dead or not engine:
                continue
            gone = _gone(patient, release, engine)
            if gone and patient.since(release.updated_at) > patient.patience.settle:
                yield Finding(
                    check="starts",
                    what=f"is starting, but its engine {engine} {gone}",
                    where=f"{release.name}@{name}",
                    mend=f"`kuznia logs {engine}`; `kuznia rollback {release.name} --to {name}` starts it anew",
                )


def orphans(patient: Patient) -> Iterator[Finding]:
    """Whatever runs is wanted by some record."""
    if patient.workloads is None:
        return
    wanted = _wanted(patient)
    for status in patient.workloads:
        if status.phase in ALIVE and status.name not in wanted:
            held = f"process {status.pid}" if status.pid else "no process just now"
            yield Finding(
                check="orphans",
                what=f"{status.kind} runs ({held}), and no record wants it",
                where=status.name,
                mend=f"`kuznia logs {status.name}` tells what it is; if it is nothing of worth, stop the platform"
                f" and move `cluster/{status.name}` out of KUZNIA_HOME",
            )


def _pending(patient: Patient) -> set[str]:
    waiting = {waiting.event.id for waiting in patient.operations.waiting(limit=100_000)}
    return waiting | {letter.event.id for letter in patient.bus.dead_letters(limit=100_000)}


def _gone(patient: Patient, record: Record, job: str) -> str:
    """Why a workload will not go on: empty where it will, where it is still asked for, or cannot be known."""
    if patient.workloads is None or any(isinstance(intent, Do) for intent in record.outbox):
        return ""
    status = next((status for status in patient.workloads if status.name == job), None)
    if status is None:
        return "is not in the cluster"
    return "" if status.phase in ALIVE else _ended(status)


def _ended(status: Status) -> str:
    why = f" ({status.reason})" if status.reason else ""
    return f"ended{why}, and nobody heard of it"


def _measuring(evaluation: Record) -> Mapping[str, str]:
    data: Mapping[str, Any] = evaluation.data
    run = (data.get("model") or {}).get("run_id", "")
    asked = [role for role in data.get("asked", []) if role not in data.get("results", {})]
    return {role: workload_name("eval", role, run) for role in asked}


def _wanted(patient: Patient) -> set[str]:
    """The names of all workloads that records know, and of those that are still to be stopped."""
    names: set[str] = set()
    for run in every_record(patient.store, "runs"):
        names.add(run.data.get("job", ""))
    for evaluation in every_record(patient.store, "evaluations"):
        run_id = (evaluation.data.get("model") or {}).get("run_id", "")
        names |= {workload_name("eval", role, run_id) for role in evaluation.data.get("asked", [])}
    for release in every_record(patient.store, "releases"):
        names |= {version.get("release", "") for version in release.data.get("versions", {}).values()}
        names |= {i.arguments.get("release", "") for i in release.outbox if isinstance(i, Do)}
    for engine in every_record(patient.store, "engines"):
        names.add(engine.data.get("server", ""))
        names |= {i.arguments.get("server", "") for i in engine.outbox if isinstance(i, Do)}
    return names


def _replay(check: str, event: str, where: str, what: str) -> Finding:
    return Finding(
        check=check, what=what, where=f"{where} ({event})", mend=f"`kuznia replay --id {event} --reason …`"
    )
