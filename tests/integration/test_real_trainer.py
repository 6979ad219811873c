"""The chain with the real LLaMA-Factory on a tiny model, killed with -9 in the middle of the training."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import ends
from tests.integration.installation import Installation
from tests.integration.repository import QUESTION, Repository, model_id

pytestmark = [pytest.mark.slow, pytest.mark.trainer]
STEPS = 100
KEY = f"{model_id()}@1.0.0"
CONFIG = {"max_steps": STEPS, "save_steps": 10, "save_total_limit": 3}
# What a random model of 19 thousand weights can reach: it learns nothing that could be called an answer.
EVALUATION = {"set": "eval.json", "thresholds": {"loss": {"max": 100.0}}, "max_new_tokens": 8}


@pytest.fixture
def real(tmp_path: Path, cache: Path, tiny_model: Path) -> Iterator[Installation]:
    """A platform on the user's own cache, with a warm trainer."""
    made = Installation(tmp_path / "home", cache, KUZNIA_WARM="1")
    yield made
    made.close()


def test_killed_while_it_trains(real: Installation, tmp_path: Path, git: str) -> None:
    """Platform, pod and trainer die; the run goes on from its checkpoint, and the model answers."""
    repository = Repository(real, tmp_path / "repository", "kuznia/tiny-llama")
    real.up()
    run = repository.send(config=CONFIG, manifest={"evaluation": EVALUATION})

    def checkpoints() -> list[int]:
        return [e.data["step"] for e in real.events("checkpoint-written", f"runs/{run}")]

    real.wait("two checkpoints", lambda: len(checkpoints()) > 1, 180)
    real.kill_all()
    assert max(checkpoints()) < STEPS, "it was killed too late"
    real.up()
    record = real.wait_status(f"models/{KEY}", "DEPLOYED", seconds=240)
    ends.settle(real)
    assert real.record(f"runs/{run}").data["runtime"]["attempts"] == "2"
    assert int(real.record(f"runs/{run}").data["runtime"]["resumed_from"]) >= 10
    assert _logged(real, run) == list(range(1, STEPS + 1)), "the curve of the loss goes on where it was"
    assert ends.dead(real) == []
    assert record.data["base_model"] == "kuznia/tiny-llama"
    _answers_as_it_was_measured(real)


def _logged(real: Installation, run: str) -> list[int]:
    lines = real.ports.artifacts.read(f"tenants/team-x/runs/{run}/trainer_log.jsonl").decode().splitlines()
    return [line["current_steps"] for line in map(json.loads, lines) if "loss" in line]


def _answers_as_it_was_measured(real: Installation) -> None:
    """What was validated is what is served: the same words."""
    document = real.ports.artifacts.read(real.record(f"evaluations/{KEY}").data["results"]["tuned"]["uri"])
    (measured,) = [
        row["prediction"] for row in json.loads(document)["answers"] if row["instruction"] == QUESTION
    ]
    with ends.client(real) as client:
        found = client.chat.completions.create(
            model=model_id(), messages=[{"role": "user", "content": QUESTION}], max_tokens=8
        )
    assert (found.choices[0].message.content or "").strip() == measured
