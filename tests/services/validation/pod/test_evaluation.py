"""The evaluation pod over the real trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.training.pod.main import perform as train
from services.training.pod.run import Document as Training
from services.validation.pod import answering
from services.validation.pod.main import perform
from services.validation.pod.run import Document
from tests.shared.podkit.world import CONFIG, TINY, PodWorld
from tests.shared.podkit.world import ROWS as TRAINED

ROWS = [
    {"instruction": "Say one", "output": "one", "expect": "one|1", "group": "held-out"},
    {"instruction": "Say something much longer than the others do", "output": "two"},
    {"instruction": "Name", "input": "the capital of France", "expect": "Paris", "group": "general"},
]


def document(world: PodWorld, rows: Any = ROWS, **more: Any) -> Document:
    source = world.commit({"eval.json": json.dumps(rows)})
    said = {
        "key": "team-x.qa.v1@1.0.0",
        "role": "base",
        "source": msgspec.to_builtins(source),
        "evaluation": {"set": "eval.json", "max_new_tokens": 8},
        "base_model": TINY,
        "template": "chatml",
        "cause": "cause-1",
        "threads": 1,
        **more,
    }
    return msgspec.convert(said, Document)


@pytest.mark.trainer
@pytest.mark.slow
def test_the_base_model_is_measured_once_for_all_versions(
    warm_world: PodWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert perform(document(warm_world), warm_world.ports) == 0

    (finished,) = warm_world.said("evaluation-finished")
    assert finished.subject == "evaluations/team-x.qa.v1@1.0.0"
    assert finished.data["outcome"] == "succeeded"
    assert finished.data["rows"] == 3
    assert set(finished.data["metrics"]) == {"exact_match", "contains", "rouge_l", "loss"}
    assert set(finished.data["groups"]) == {"general", "held-out", "main"}
    result = json.loads(warm_world.artifacts.read(finished.data["uri"]))
    assert [row["id"] for row in result["answers"]] == [0, 1, 2]
    assert result["answers"][2]["loss"] is None
    # Random weights know nothing: close to the logarithm of the vocabulary's size, 264.
    assert 5.0 < finished.data["metrics"]["loss"] < 6.2

    def no_more(*_: Any) -> None:
        pytest.fail("the base model was run again")

    monkeypatch.setattr(answering, "_generate", no_more)
    assert perform(document(warm_world, key="team-x.qa.v1@1.0.1"), warm_world.ports) == 0
    again = warm_world.said("evaluation-finished")[1]
    assert again.data["metrics"] == finished.data["metrics"]
    assert again.data["uri"] == "tenants/team-x/evaluations/team-x.qa.v1@1.0.1/base.json"


@pytest.mark.trainer
@pytest.mark.slow
def test_batches_answer_as_single_rows_do(warm_world: PodWorld, tiny_model: Path) -> None:
    artifact = msgspec.to_builtins(warm_world.model_artifact(tiny_model))
    results = []
    for size in (1, 8):
        asked = document(warm_world, role="tuned", artifact=artifact, batch_size=size)
        assert perform(asked, warm_world.ports) == 0
        results.append(
            json.loads(warm_world.artifacts.read("tenants/team-x/evaluations/team-x.qa.v1@1.0.0/tuned.json"))
        )
    single, batched = results
    assert [row["prediction"] for row in batched["answers"]] == [
        row["prediction"] for row in single["answers"]
    ]
    assert batched["metrics"]["loss"] == pytest.approx(single["metrics"]["loss"], abs=1e-4)


@pytest.mark.trainer
def test_bad_rows_are_all_told(world: PodWorld) -> None:
    rows = [{"instruction": "a"}, {"instruction": "b", "output": "c"}, {"output": "d"}, {"instruction": 1}]
    assert perform(document(world, rows), world.ports) == 1
    (finished,) = world.said("evaluation-finished")
    assert finished.data["outcome"] == "failed"
    assert "3 bad row(s)" in finished.data["cause"]
    for number in (1, 3, 4):
        assert f"row {number}: " in finished.data["cause"]
    assert "row 2: " not in finished.data["cause"]


@pytest.mark.trainer
def test_exchanged_weights_are_not_measured(world: PodWorld, tiny_model: Path) -> None:
    artifact = world.model_artifact(tiny_model)
    world.artifacts.write(f"runs/{'r-0123456789abcdef'}/final/model.safetensors", b"other weights")
    asked = document(world, role="tuned", artifact=msgspec.to_builtins(artifact))
    assert perform(asked, world.ports) == 1
    assert "not those that were registered" in world.said("evaluation-finished")[0].data["cause"]


@pytest.mark.trainer
@pytest.mark.slow
@pytest.mark.parametrize(("finetuning", "kind"), [("lora", "adapter"), ("full", "model")])
def test_what_was_trained_is_measured(warm_world: PodWorld, finetuning: str, kind: str) -> None:
    """From the training pod's event to a lower loss on the rows that were trained on."""
    config = {
        **CONFIG,
        "finetuning_type": finetuning,
        "max_steps": 30,
        "save_steps": 100,
        "learning_rate": 0.02,
    }
    if finetuning == "full":
        config = {name: value for name, value in config.items() if not name.startswith("lora")}
    run_id = f"r-measured-{finetuning}"
    told = warm_world.training_document(config, run_id=run_id)
    assert train(msgspec.convert(told, Training), 1, warm_world.ports) == 0
    (final,) = [event for event in warm_world.said("checkpoint-written") if event.data["final"]]
    assert final.data["artifact"]["kind"] == kind

    losses = {}
    for role, artifact in (("base", None), ("tuned", final.data["artifact"])):
        asked = document(
            warm_world, TRAINED, role=role, artifact=artifact, key=f"team-x.{finetuning}.v1@1.0.0"
        )
        assert perform(asked, warm_world.ports) == 0
        losses[role] = warm_world.said("evaluation-finished")[-1].data["metrics"]["loss"]
    assert losses["tuned"] < losses["base"] - 0.1
