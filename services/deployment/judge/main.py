"""The steps of a judgement, in order.

Exit codes: 0 judged, and said of both versions; 1 it could not judge, and says why in its last line; 75 stopped on
request. Nothing is said of one version alone: the questions of both are the same, or there is nothing to compare.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec

from events.answers_judged import AnswersJudged
from services.deployment.judge.asking import Asker, key
from services.deployment.judge.document import Document
from services.deployment.judge.sample import drawn, measurable
from shared.errors import KuzniaError, Reject
from shared.evaluation.metrics import Answer, Row, score
from shared.podkit import document as documents
from shared.podkit.locked import locked
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts, open_ports
from shared.podkit.questions import Asked, questions
from shared.podkit.stopping import PREEMPTED, Preempted, Stopping
from shared.podkit.voice import Voice

JUDGE = "kuznia"
LOCK_SECONDS = 30


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """What one version answered, question by question, and the scores; in order of the questions."""

    version: str
    predictions: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the scores."""
        return round(sum(self.scores) / len(self.scores), 6)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked and answered; kept before a word is said, so that another start says the same."""

    metric: str
    set: str
    set_digest: str
    rows: tuple[Row, ...]
    answers: tuple[Answers, ...]


def main() -> int:
    """As the cluster starts it."""
    return perform(documents.read(Document), open_ports())


def perform(document: Document, ports: PodPorts, patience: Patience | None = None) -> int:
    """Judge, and say what was found; the exit code. patience: with an engine that does not answer."""
    stopping = Stopping(document.grace_seconds)
    try:
        judged = _kept(document, ports) or _judge(document, ports, stopping, patience or Patience())
        _say(document, ports, judged)
    except Preempted:
        sys.stdout.write("stopped on request\n")
        return PREEMPTED
    except (KuzniaError, OSError) as error:
        sys.stdout.write(f"not judged: {error}\n")
        return 1
    return 0


def _kept(document: Document, ports: PodPorts) -> Judged | None:
    """What an earlier start, or an earlier judge of this step, found out."""
    try:
        return msgspec.json.decode(ports.artifacts.read(document.result), type=Judged)
    except FileNotFoundError:
        return None


def _judge(document: Document, ports: PodPorts, stopping: Stopping, patience: Patience) -> Judged:
    work = ports.settings.home / "work" / document.work
    asked = Asked(
        key=document.key,
        source=document.source,
        evaluation=document.evaluation,
        work=work,
        check=stopping.check,
    )
    with locked(work / "lock", LOCK_SECONDS):
        known = questions(asked, ports)
    groups = document.evaluation.get("report_only") or ()
    rows = drawn(measurable(known.rows, document.metric, groups), document.samples, document.step)

    askers = [
        Asker(engine, key(engine, ports.settings), document.max_new_tokens) for engine in document.engines
    ]
    answers = _answers(askers, rows, stopping, patience)
    judged = Judged(
        metric=document.metric,
        set=str(document.evaluation.get("set", "")),
        set_digest=known.digest,
        rows=tuple(rows),
        answers=tuple(
            _scored(engine.version, document.metric, rows, predictions)
            for engine, predictions in zip(document.engines, answers, strict=True)
        ),
    )
    return _keep(document, ports, judged)


def _answers(
    askers: Sequence[Asker], rows: Sequence[Row], stopping: Stopping, patience: Patience
) -> list[tuple[str, ...]]:
    """Of each asker, in order of the rows. One question at a time, of both in the same moment: users ask them too."""
    found = []
    with ThreadPoolExecutor(len(askers)) as pool:
        for row in rows:
            stopping.check()
            asking = [pool.submit(patience.insist, "asking", partial(asker.ask, row)) for asker in askers]
            found.append([each.result() for each in asking])
    return list(zip(*found, strict=True))


def _scored(version: str, metric: str, rows: Sequence[Row], predictions: Sequence[str]) -> Answers:
    each = [
        score(row, Answer(id=number, prediction=prediction))
        for number, (row, prediction) in enumerate(zip(rows, predictions, strict=True))
    ]
    scores = tuple(float(getattr(scored, metric)) for scored in each)
    return Answers(version=version, predictions=tuple(predictions), scores=scores)


def _keep(document: Document, ports: PodPorts, judged: Judged) -> Judged:
    content = msgspec.json.format(msgspec.json.encode(judged))
    try:
        Patience().insist("keeping the answers", lambda: ports.artifacts.create(document.result, content))
    except Reject:  # another start was quicker: what it found is what is said
        return _kept(document, ports) or judged
    return judged


def _say(document: Document, ports: PodPorts, judged: Judged) -> None:
    voice = Voice(
        ports=ports, source="/kuznia/deployment", cause=document.cause, traceparent=document.traceparent
    )
    for answers in judged.answers:
        told: dict[str, Any] = {"samples": len(answers.scores), "mean": answers.mean}
        sys.stdout.write(f"{answers.version}: {judged.metric} {told}\n")
        said = AnswersJudged(
            model_id=document.model_id,
            version=answers.version,
            metric=judged.metric,
            judge=JUDGE,
            mark=document.mark,
            **told,
        )
        voice.say(
            said,
            subject=f"releases/{document.model_id}",
            discriminator=f"{document.mark}/{answers.version}",
        )
