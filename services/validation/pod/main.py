"""The steps of a measurement, in order.

Exit codes: 0 measured, 1 failed, both said; 75 stopped on request, nothing said.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from events.evaluation_finished import EvaluationFinished
from services.validation.pod.answering import answers
from services.validation.pod.run import Document, Run
from shared import places
from shared.errors import KuzniaError
from shared.evaluation.metrics import Answer, Scored, by_group, overall, score
from shared.evaluation.rows import EvaluationSet
from shared.forge.environment import require
from shared.forge.models import BaseModel
from shared.forge.process import Lost, insist
from shared.podkit import document as documents
from shared.podkit.bases import base_model, pinned
from shared.podkit.locked import locked
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts, open_ports
from shared.podkit.questions import Asked, questions
from shared.podkit.stopping import PREEMPTED, Preempted, Stopping
from shared.podkit.voice import Voice

LOCK_SECONDS = 30  # an earlier start of the same measurement may still be dying


def main() -> int:
    """As the cluster starts it."""
    return perform(documents.read(Document), open_ports())


def perform(document: Document, ports: PodPorts) -> int:
    """Measure, and say what was found; the exit code."""
    stopping = Stopping(document.grace_seconds)
    try:
        finished = _measure(document, ports, stopping)
    except Preempted:
        sys.stdout.write("stopped on request; will be measured anew\n")
        return PREEMPTED
    except (KuzniaError, Lost, OSError) as error:
        sys.stdout.write(f"failed: {error}\n")
        finished = EvaluationFinished(
            key=document.key, role=document.role, outcome="failed", cause=str(error)
        )
    voice = Voice(
        ports=ports, source="/kuznia/validation", cause=document.cause, traceparent=document.traceparent
    )
    voice.say(
        finished,
        subject=f"evaluations/{document.key}",
        discriminator=f"{document.key}/{document.role}/{finished.outcome}",
    )
    return 0 if finished.outcome == "succeeded" else 1


def _measure(document: Document, ports: PodPorts, stopping: Stopping) -> EvaluationFinished:
    run = Run(
        document=document,
        ports=ports,
        stopping=stopping,
        trainer=require(ports.settings.cache),
        base=_base(document, ports),
    )
    run.work.mkdir(parents=True, exist_ok=True)
    with locked(run.work / "lock", LOCK_SECONDS):
        rows = _questions(run)
        stopping.check()
        found = insist(lambda: answers(run, rows))
        return _finished(run, rows, found)


def _base(document: Document, ports: PodPorts) -> BaseModel:
    """Of tuned weights what they were made from; else what the run is pinned to, by whichever pod is first."""
    if document.artifact and document.artifact.base_revision:
        return base_model(ports.settings, document.base_model, document.artifact.base_revision)
    if document.artifact or document.model is None:  # of before revisions were pinned
        return base_model(ports.settings, document.base_model, document.base_revision)
    place = places.of_run(document.model.tenant, document.model.run_id)
    return pinned(ports.settings, ports.artifacts, place, document.base_model, document.base_revision)


def _questions(run: Run) -> EvaluationSet:
    asked = Asked(
        key=run.document.key,  # of both roles: they answer the same rows
        source=run.document.source,
        evaluation=run.document.evaluation,
        work=run.work,
        check=run.stopping.check,
    )
    return questions(asked, run.ports)


def _finished(run: Run, questions: EvaluationSet, found: list[Answer]) -> EvaluationFinished:
    scored = [score(row, answer) for row, answer in zip(questions.rows, found, strict=True)]
    metrics = overall(scored, run.document.evaluation.get("report_only") or ())
    groups = by_group(scored)
    document = {
        "key": run.document.key,
        "role": run.document.role,
        "base_model": run.document.base_model,
        "artifact": msgspec.to_builtins(run.document.artifact),
        "set": run.document.evaluation["set"],
        "set_digest": questions.digest,
        "template": run.document.template,
        "max_new_tokens": run.document.max_new_tokens,
        "metrics": metrics,
        "groups": groups,
        "answers": _table(questions, found, scored),
    }
    content = msgspec.json.format(msgspec.json.encode(document))
    stored = Patience().insist("keeping the result", lambda: run.ports.artifacts.write(run.result, content))
    sys.stdout.write(f"{run.document.role}: {len(scored)} rows, {metrics}\n")
    return EvaluationFinished(
        key=run.document.key,
        role=run.document.role,
        outcome="succeeded",
        metrics=metrics,
        groups=groups,
        rows=len(scored),
        set_digest=questions.digest,
        uri=stored.path,
    )


def _table(questions: EvaluationSet, found: list[Answer], scored: list[Scored]) -> list[dict[str, Any]]:
    """Row by row: the question, the answer, the scores."""
    return [
        msgspec.to_builtins(row)
        | {"prediction": answer.prediction}
        | msgspec.to_builtins(scores)
        | {"passed": scores.passed}
        for row, answer, scores in zip(questions.rows, found, scored, strict=True)
    ]
