"""Canaries that the platform judges by itself: real processes, real HTTP, no person, and no request that fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.load import Load
from tests.integration.repository import ROWS, Repository, model_id

pytestmark = pytest.mark.slow
EASY = {"set": "eval.json", "thresholds": {"contains": {"min": 0.4}}, "max_new_tokens": 16}
STEPS = [{"weight": 0.5, "minutes": 0.1, "requests": 5}]
CANARY = {
    "strategy": "canary",
    "canary": {
        "steps": STEPS,
        "max_ttft_ratio": 100,
        "max_latency_ratio": 100,
        "judge": {"metric": "contains", "max_drop": 0.25, "samples": 4},
    },
}


def test_worse_answers_go_back_and_as_good_ones_go_live(
    installation: Installation, repository: Repository
) -> None:
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    with Load(installation) as load:
        # It knows two of the four answers: enough for its thresholds, and less than the live version knows.
        repository.send(version="1.1.0", rows=ROWS[:2], manifest={"evaluation": EASY, "deployment": CANARY})
        over = installation.wait("the worse canary has ended", lambda: _over(installation, "1.1.0"))
        assert over["what"] == "went-back"
        assert over["reason"] == (
            "its contains is 0.5 over 4 answers, where the live version's is 1 and 0.25 less is allowed"
        )
        assert (over["by"], _release(installation)["live"]) == ("deployment", "1.0.0")

        repository.send(version="1.2.0", manifest={"evaluation": EASY, "deployment": CANARY})
        over = installation.wait("the other canary has ended", lambda: _over(installation, "1.2.0"))
        assert over["what"] == "finished", over["reason"]
        assert over["reason"].endswith("score 1 against 1 over 4 answers")
        installation.wait("1.2.0 answers", lambda: load.answered_by("1.2.0"))
    assert load.failures == []

    told = {
        (word.data["mark"], word.data["version"]): word.data for word in installation.events("answers-judged")
    }
    assert {key: (data["mean"], data["judge"]) for key, data in told.items()} == {
        ("1.0", "1.0.0"): (1.0, "kuznia"),
        ("1.0", "1.1.0"): (0.5, "kuznia"),
        ("2.0", "1.0.0"): (1.0, "kuznia"),
        ("2.0", "1.2.0"): (1.0, "kuznia"),
    }
    assert installation.events("rollout-requested") == []
    ends.answers(installation)
    assert ends.dead(installation) == []


def _release(installation: Installation) -> dict[str, Any]:
    return installation.record(f"releases/{model_id()}").data


def _over(installation: Installation, version: str) -> dict[str, Any] | None:
    rollouts = _release(installation).get("rollouts", [])
    return next((over for over in rollouts if over["version"] == version), None)
