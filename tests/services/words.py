"""Payloads as the services say them, about one model; and a hearing: events decided by a service, one by one."""

from __future__ import annotations

from typing import Any

import msgspec

from events.card_rendered import CardRendered
from events.catalog import encode, name_of
from events.checkpoint_written import CheckpointWritten
from events.envelope import Event
from events.evaluation_finished import EvaluationFinished
from events.model_approved import ModelApproved
from events.model_registered import ModelRegistered
from events.model_rejected import ModelRejected
from events.model_validated import Gate, ModelValidated
from events.parts import Artifact, ModelVersion, Origin, Source
from events.training_started import TrainingStarted
from events.workload_changed import WorkloadChanged
from shared.lifecycle import guard
from shared.record import Record
from shared.service import Decision, Service
from tests.memory import START, ManualClock

MODEL_ID = "team-x.llm-qa.v1"
RUN = "r-0123456789abcdef"
SOURCE = Source(
    repository="experiments",
    url="https://git.example/experiments.git",
    experiment="experiments/llm-qa",
    commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    tree="9daeafb9864cf43055ae93beb0afd6c7d144bfa4",
    branch="main",
)
MANIFEST: dict[str, Any] = {
    "name": "llm-qa",
    "tenant": "team-x",
    "owner": "Support Engineering",
    "version": "1.0.0",
    "risk_class": "LIMITED_RISK",
    "ai_act_notes": "",
    "data": {"id": "orlik-support-24"},
    "evaluation": {
        "set": "eval.json",
        "thresholds": {"contains": {"min": 0.7, "max": None}},
        "baseline": {"metric": "contains", "min_gain": 0.4},
    },
    "resources": {"memory_gb": 4.0, "hours": 1.0},
    "deployment": {"engine": "llamafactory", "approval": "auto"},
}
CONFIG = {"model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct", "template": "chatml"}


def digest(word: str) -> str:
    """A digest that tells what it is of."""
    return f"sha256:{word}"


def model(version: str = "1.0.0", run: str = RUN) -> ModelVersion:
    return ModelVersion(model_id=MODEL_ID, version=version, tenant="team-x", run_id=run)


def artifact(version: str = "1.0.0", weights: str = "") -> Artifact:
    return Artifact(
        uri=f"runs/{RUN}/checkpoints/{version}",
        manifest_digest=digest(weights or f"weights-{version}"),
        kind="adapter",
        base_model=CONFIG["model_name_or_path"],
    )


def origin(**manifest: Any) -> Origin:
    return Origin(source=SOURCE, config=dict(CONFIG), manifest={**MANIFEST, **manifest})


def started(version: str = "1.0.0", **manifest: Any) -> TrainingStarted:
    return TrainingStarted(run_id=RUN, model=model(version), origin=origin(**manifest), job=f"train-{RUN}")


def final(version: str = "1.0.0", weights: str = "", **manifest: Any) -> CheckpointWritten:
    return CheckpointWritten(
        run_id=RUN,
        step=48,
        final=True,
        artifact=artifact(version, weights),
        metrics={"loss": 0.43, "train_runtime": 67.2},
        runtime={"torch": "2.13.0"},
        model=model(version),
        origin=origin(**manifest),
    )


def registered(version: str = "1.0.0", **manifest: Any) -> ModelRegistered:
    return ModelRegistered(
        model=model(version), artifact=artifact(version), origin=origin(**manifest), registered_at=START
    )


def validated(version: str = "1.0.0", *, passed: bool = True, weights: str = "") -> ModelValidated:
    gate = Gate(metric="contains", demand=">= 0.7", measured=0.93 if passed else 0.1, passed=passed)
    return ModelValidated(
        model=model(version),
        artifact=artifact(version, weights),
        passed=passed,
        metrics={"contains": gate.measured or 0.0},
        baseline={"contains": 0.0},
        gates=(gate,),
        report=f"evaluations/{MODEL_ID}@{version}/report.md",
        report_digest=digest("report"),
    )


def card(version: str = "1.0.0", content: str = "") -> CardRendered:
    return CardRendered(
        model=model(version),
        manifest_digest=artifact(version).manifest_digest,
        markdown=f"cards/{MODEL_ID}/{version}/card.md",
        document=f"cards/{MODEL_ID}/{version}/card.json",
        digest=digest(content or f"card-{version}"),
        completeness=0.9,
        missing=("oversight.overseers",),
    )


def evaluated(role: str, version: str = "1.0.0", **changes: Any) -> EvaluationFinished:
    facts: dict[str, Any] = {
        "key": f"{MODEL_ID}@{version}",
        "role": role,
        "outcome": "succeeded",
        "metrics": {"contains": 0.93 if role == "tuned" else 0.0},
        "groups": {},
        "rows": 14,
        "set_digest": digest("set"),
        "uri": f"evaluations/{role}.json",
    }
    return EvaluationFinished(**{**facts, **changes})


def approved(
    version: str = "1.0.0", *, weights: str = "", content: str = "", who: str = "Ann"
) -> ModelApproved:
    return ModelApproved(**_word(version, weights, content, who))


def rejected(
    version: str = "1.0.0", *, weights: str = "", content: str = "", who: str = "Ann"
) -> ModelRejected:
    return ModelRejected(**_word(version, weights, content, who))


def _word(version: str, weights: str, content: str, who: str) -> dict[str, str]:
    return {
        "model_id": MODEL_ID,
        "version": version,
        "who": who,
        "role": "compliance",
        "manifest_digest": digest(weights or f"weights-{version}"),
        "card_digest": digest(content or f"card-{version}"),
        "reason": "seen",
    }


def changed(phase: str, name: str, service: str, key: str, **facts: Any) -> WorkloadChanged:
    kind = "server" if service == "deployment" else "job"
    values = {"attempt": 1, **facts}
    return WorkloadChanged(name=name, service=service, key=key, kind=kind, phase=phase, **values)  # type: ignore[arg-type]


class Hearing:
    """A service hears payloads; what it decides is kept as the store would keep it, guards and all."""

    def __init__(self, service: Service, key: str) -> None:
        self.service = service
        self.clock = ManualClock()
        self.record = Record(key=key)
        self.count = 0

    def hear(self, payload: Any) -> Decision | None:
        event = self.event(payload)
        assert self.service.key(event) == self.record.key
        decision = self.service.decide(self.record, event, self.clock.now())
        if decision is not None:
            self._keep(decision, event)
        return decision

    def event(self, payload: Any) -> Event:
        self.count += 1
        self.clock.move(1)
        return Event(
            id=f"e-{self.count}",
            name=name_of(payload),
            source="/test",
            subject=self.record.key,
            time=self.clock.now(),
            data=encode(payload),
        )

    @property
    def data(self) -> dict[str, Any]:
        return self.record.data

    @property
    def status(self) -> str:
        return self.record.status

    def _keep(self, decision: Decision, event: Event) -> None:
        said = {name_of(speech.payload) for speech in decision.says}
        assert said <= set(self.service.says), f"{self.service.name} says {said}, which it does not tell of"
        data = msgspec.json.decode(msgspec.json.encode(decision.data))
        record = msgspec.structs.replace(
            self.record,
            revision=self.record.revision,
            status=decision.status,
            data=data,
            inbox=(*self.record.inbox, event.id),
        )
        guard(self.record, record)
        self.record = msgspec.structs.replace(record, revision=record.revision + 1)


def said(decision: Decision | None) -> list[Any]:
    """Payloads of what is said."""
    return [speech.payload for speech in decision.says] if decision else []


def wished(decision: Decision | None) -> list[tuple[str, dict[str, Any]]]:
    """Effects that are asked for, with their arguments."""
    return [(wish.effect, wish.arguments) for wish in decision.wishes] if decision else []
