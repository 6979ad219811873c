"""What a commit's status is to be, event by event. Pure.

A run and the version it makes have a record each, because what comes after the run names the version alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from events.catalog import decode
from events.deployment_failed import DeploymentFailed
from events.envelope import Event
from events.model_deployed import ModelDeployed
from events.model_rejected import ModelRejected
from events.model_validated import ModelValidated
from events.retry_requested import RetryRequested
from events.training_finished import TrainingFinished
from events.training_queued import TrainingQueued
from events.training_started import TrainingStarted
from shared.record import Record
from shared.service import Decision, Wish

MOST_WORDS = 140  # what GitHub takes of a description


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """state: of the commit. words: one line for a person. run: where it is known. of: the record's name."""

    state: Literal["PENDING", "SUCCESS", "FAILURE"]
    words: str
    of: str
    run: str = ""


def key(event: Event) -> str | None:
    """`statuses/<run_id>`, or `statuses/<model_id>@<version>` once its run is over."""
    data = event.data
    if event.name == "model-validated":
        return f"statuses/{data['model']['model_id']}@{data['model']['version']}"
    if "run_id" in data:
        return f"statuses/{data['run_id']}"
    if "model" in data:
        return f"statuses/{data['model']['run_id']}"
    return f"statuses/{data['model_id']}@{data['version']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """The verdict is the event's; the last one stands. What stands already is not written again: who waits in the
    queue says so each time he asks.
    """
    payload = decode(event)
    verdict = READERS[type(payload)](payload)
    known = msgspec.structs.replace(verdict, words=_line(verdict.words), of=record.name)
    if (record.data.get("state"), record.data.get("words")) == (known.state, known.words):
        return None
    data = {"state": known.state, "words": known.words, "at": now.isoformat()}
    return Decision(status=known.state, data=data, wishes=(Wish("write", msgspec.to_builtins(known)),))


def _queued(queued: TrainingQueued) -> Verdict:
    words = f"queued, place {queued.place} of {queued.waiting}: {queued.why}"
    return Verdict(state="PENDING", words=words, of="", run=queued.run_id)


def _started(started: TrainingStarted) -> Verdict:
    words = f"training {started.model.key}"
    return Verdict(state="PENDING", words=words, of="", run=started.run_id)


def _retried(retried: RetryRequested) -> Verdict:
    return Verdict(state="PENDING", words=f"tried again by {retried.by}", of="", run=retried.run_id)


def _finished(finished: TrainingFinished) -> Verdict:
    if finished.outcome == "failed":
        return Verdict(state="FAILURE", words=finished.cause, of="", run=finished.run_id)
    words = "trained; its validation follows" if finished.outcome == "succeeded" else "preempted; it goes on"
    return Verdict(state="PENDING", words=words, of="", run=finished.run_id)


def _validated(validated: ModelValidated) -> Verdict:
    run = validated.model.run_id
    if validated.passed:
        words = f"{validated.model.key} passed its validation; it is not deployed yet"
        return Verdict(state="PENDING", words=words, of="", run=run)
    failed = [
        f"{gate.metric} {_number(gate.measured)} (demanded {gate.demand})"
        for gate in validated.gates
        if not gate.passed
    ]
    words = f"{validated.model.key} failed its validation: {', '.join(failed) or 'nothing was measured'}"
    return Verdict(state="FAILURE", words=words, of="", run=run)


def _rejected(rejected: ModelRejected) -> Verdict:
    words = f"rejected by {rejected.who} ({rejected.role}): {rejected.reason}"
    return Verdict(state="FAILURE", words=words, of="")


def _deployed(deployed: ModelDeployed) -> Verdict:
    return Verdict(state="SUCCESS", words=f"{deployed.model_id}@{deployed.version} answers", of="")


def _not_deployed(failed: DeploymentFailed) -> Verdict:
    return Verdict(state="FAILURE", words=f"it could not be brought to answer: {failed.cause}", of="")


READERS: Mapping[type, Callable[[Any], Verdict]] = {
    TrainingQueued: _queued,
    TrainingStarted: _started,
    RetryRequested: _retried,
    TrainingFinished: _finished,
    ModelValidated: _validated,
    ModelRejected: _rejected,
    ModelDeployed: _deployed,
    DeploymentFailed: _not_deployed,
}


def _number(measured: float | None) -> str:
    return "not measured" if measured is None else f"{measured:.3g}"


def _line(words: str) -> str:
    """One line, short enough for every forge."""
    line = " ".join(words.split())
    return line if len(line) <= MOST_WORDS else line[: MOST_WORDS - 1] + "…"
