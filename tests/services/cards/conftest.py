"""A version as it really comes: the assistant of the Orlik pumps, SmolLM2-135M with a LoRA of 48 steps."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from events.catalog import encode
from events.envelope import Event
from events.model_registered import ModelRegistered
from events.model_validated import Gate, ModelValidated
from events.parts import Artifact, ModelVersion, Origin, Source
from services.cards.facts import Facts

REGISTERED_AT = datetime(2026, 11, 23, 10, 4, 5, tzinfo=UTC)
VALIDATED_AT = datetime(2026, 11, 23, 10, 5, 41, tzinfo=UTC)

MANIFEST: dict[str, Any] = {
    "name": "orlik",
    "tenant": "team-x",
    "owner": "Support Engineering",
    "version": "1.0.0",
    "risk_class": "LIMITED_RISK",
    "risk_analysis": "https://risk.example/analyses/orlik-assistant",
    "ai_act_notes": "RA-2026-014: transparency duties only; no conformity procedure needed",
    "purpose": {
        "summary": "Answers customers' questions about Orlik pumps: error codes, oil, service, warranty.",
        "users": "support staff, who check every answer before it is sent",
        "not_for": [
            "safety decisions about a running pump",
            "pumps of other makers",
            "legal or contractual statements on the warranty",
        ],
    },
    "data": {
        "id": "orlik-support-2026",
        "description": "24 questions with answers, in English, on 10 topics",
        "sources": ["written by the support team from the service manual, edition 7"],
        "licence": "company internal",
        "preprocessing": "none; each topic is asked in two or more ways",
        "biases": "polite, short, native English only",
    },
    "limitations": [
        "Invents an answer where a question is not covered by the manual.",
        "Forgets general knowledge; ask it about pumps only.",
    ],
    "oversight": {"monitoring": "", "withdrawal": "", "overseers": ["support team lead"]},
    "logging": {"retention_days": 200, "access": "support team lead, platform operators"},
    "contact": {"incidents": "incidents@orlik.example", "responsible": "head of support"},
    "licence": "Apache-2.0",
    "language": ["en"],
    "evaluation": {
        "set": "eval.json",
        "metrics": ["contains", "rouge_l", "loss"],
        "thresholds": {"contains": {"min": 0.75, "max": None}},
        "baseline": {"metric": "contains", "min_gain": 0.5},
        "max_new_tokens": 64,
        "report_only": ["general"],
    },
    "resources": {"gpu": "none", "gpus": None, "nodes": 1, "spot": False, "memory_gb": 4.0, "hours": 1.0},
    "deployment": {"engine": "llamafactory", "replicas": 1, "approval": "auto"},
}

CONFIG: dict[str, Any] = {
    "model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "trust_remote_code": False,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "lora_target": "all",
    "disable_gradient_checkpointing": True,
    "dataset_dir": ".",
    "dataset": "train",
    "template": "chatml",
    "cutoff_len": 128,
    "overwrite_cache": True,
    "dataloader_num_workers": 0,
    "logging_steps": 1,
    "save_steps": 16,
    "save_total_limit": 2,
    "report_to": "none",
    "use_cpu": True,
    "bf16": False,
    "fp16": False,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 1,
    "learning_rate": 2.0e-3,
    "max_steps": 48,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "seed": 42,
}

RUNTIME = {
    "llamafactory": "0.9.5",
    "torch": "2.13.0",
    "transformers": "5.6.0",
    "peft": "0.18.1",
    "python": "3.11.7",
    "seconds": "67.8",
    "steps": "48",
    "attempts": "1",
    "resumed_from": "0",
    "device": "CPU (Intel(R) Xeon(R) Processor, 2 cores)",
    "platform": "Linux x86_64",
    "peak_memory_mb": "1812",
    "start": "warm",
}


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


MODEL = ModelVersion(
    model_id="team-x.orlik.v1", version="1.0.0", tenant="team-x", run_id="r-5c0de5c0de5c0de5"
)
ARTIFACT = Artifact(
    uri="runs/r-5c0de5c0de5c0de5/checkpoints/step-48",
    manifest_digest=digest("a"),
    kind="adapter",
    base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
    base_digest=digest("b"),
    base_revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
    size=19_586_048,
)
SOURCE = Source(
    repository="experiments",
    url="https://user:hidden@git.example/experiments.git",
    experiment="experiments/orlik",
    commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    tree="9daeafb9864cf43055ae93beb0afd6c7d144bfa4",
    branch="main",
)


def registered_with(
    manifest: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **changes: Any
) -> ModelRegistered:
    """The registered version; each part can be another."""
    origin = Origin(
        source=SOURCE,
        config=deepcopy(CONFIG if config is None else config),
        manifest=deepcopy(MANIFEST if manifest is None else manifest),
    )
    values: dict[str, Any] = {
        "model": MODEL,
        "artifact": ARTIFACT,
        "origin": origin,
        "registered_at": REGISTERED_AT,
        "metrics": {"epoch": 8.0, "train_loss": 0.4312, "train_runtime": 67.2, "total_flos": 8.1e12},
        "runtime": dict(RUNTIME),
    }
    return ModelRegistered(**{**values, **changes})


def validated_with(**changes: Any) -> ModelValidated:
    """The validation, passed."""
    values: dict[str, Any] = {
        "model": MODEL,
        "artifact": ARTIFACT,
        "passed": True,
        "metrics": {"contains": 1.0, "rouge_l": 0.9412, "loss": 0.0438},
        "baseline": {"contains": 0.0, "rouge_l": 0.1276, "loss": 3.9127},
        "gates": (
            Gate(metric="contains", demand=">= 0.75", measured=1.0, passed=True),
            Gate(metric="contains", demand="gain over the base model >= 0.5", measured=1.0, passed=True),
        ),
        "groups": {
            "held-out": {"contains": 1.0, "rouge_l": 0.9834},
            "paraphrase": {"contains": 1.0, "rouge_l": 0.9131},
            "general": {"contains": 0.5, "rouge_l": 0.2},
        },
        "baseline_groups": {
            "held-out": {"contains": 0.0, "rouge_l": 0.131},
            "paraphrase": {"contains": 0.0, "rouge_l": 0.1253},
            "general": {"contains": 1.0, "rouge_l": 0.2},
        },
        "set_digest": digest("c"),
        "rows": 10,
        "report": "evaluations/team-x.orlik.v1@1.0.0/report.md",
        "report_digest": digest("d"),
    }
    return ModelValidated(**{**values, **changes})


def facts_with(registered: ModelRegistered | None = None, validated: ModelValidated | None = None) -> Facts:
    return Facts(
        registered=registered or registered_with(),
        validated=validated or validated_with(),
        validated_at=VALIDATED_AT,
    )


def event_of(payload: Any, name: str, time: datetime) -> Event:
    return Event(
        id=f"id-of-{name}",
        name=name,
        source="/kuznia/test",
        subject=f"models/{payload.model.key}",
        time=time,
        data=encode(payload),
    )


class World:
    """The makers above, for tests: `world.facts(world.registered(manifest=…))`."""

    manifest = MANIFEST
    config = CONFIG
    runtime = RUNTIME
    artifact = ARTIFACT
    registered = staticmethod(registered_with)
    validated = staticmethod(validated_with)
    facts = staticmethod(facts_with)

    @staticmethod
    def registered_event(payload: ModelRegistered | None = None) -> Event:
        return event_of(payload or registered_with(), "model-registered", REGISTERED_AT)

    @staticmethod
    def validated_event(payload: ModelValidated | None = None) -> Event:
        return event_of(payload or validated_with(), "model-validated", VALIDATED_AT)


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World
