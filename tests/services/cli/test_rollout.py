# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia deploy`, `kuznia rollout …`: each an event with who and why, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from events.traffic_measured import BOUNDS, Figures, TrafficMeasured
from shared.ports.bus import Query
from tests.services.chain import MODEL_ID
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import Home

CANARY = "llamafactory\n  strategy: canary\n  canary: {patience_minutes: 5}"
LIVE, NEXT = "1.1.0", "1.2.0"


@pytest.fixture(autouse=True)
def ann(forge: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUZNIA_USER", "ann")
    forge._said = 10_000  # words of its own: the home was copied, and ids follow from this count


@pytest.fixture
def canary(forge: Home, tmp_path: Path) -> Home:
    """1.2.0 beside 1.1.0; nobody asked it anything, so it is held."""
    forge.train(tmp_path, version=NEXT, engine=CANARY)
    return forge


def last(forge: Home, name: str) -> dict[str, Any]:
    (logged,) = forge.bus.log(Query(name=name, limit=1, newest=True))
    return logged.event.data


def live(forge: Home) -> str:
    return str(forge.store.load(f"releases/{MODEL_ID}").data["live"])


def measure(forge: Home, requests: int, errors: int = 0) -> None:
    slots = tuple(requests - errors if number == 9 else 0 for number in range(len(BOUNDS) + 1))
    figures = Figures(requests=requests, errors=errors, ttft=slots, latency=slots)
    mark = forge.store.load(f"releases/{MODEL_ID}").data["split"]["mark"]
    now = forge.clock.now()
    word = TrafficMeasured(
        model_id=MODEL_ID,
        gateway="g",
        mark=mark,
        since=now,
        until=now,
        versions={LIVE: figures, NEXT: figures},
    )
    forge.say(word, f"releases/{MODEL_ID}", "/kuznia/gateway")
    forge.pump()


class TestStatus:
    def test_of_a_canary(self, canary: Home):
        measure(canary, 20)
        found = read("rollout", "status", MODEL_ID)
        assert found["live"] == LIVE
        assert found["rollout"]["version"] == NEXT
        assert (found["rollout"]["state"], found["rollout"]["step"], found["rollout"]["of"]) == ("held", 1, 3)
        assert {one["version"]: one["weight"] for one in found["versions"]} == {LIVE: 0.95, NEXT: 0.05}
        assert [one["requests"] for one in found["versions"]] == [20, 20]
        text = told("rollout", "status", MODEL_ID)
        assert f"canary {NEXT} is held at step 1 of 3, 5% of the requests" in text
        assert "0 of 50 requests in 5 minutes" in text

    def test_without_one_it_shows_how_earlier_ones_ended(self, canary: Home):
        told("rollout", "abort", MODEL_ID, "--reason", "too slow")
        canary.pump()
        text = told("rollout", "status", MODEL_ID)
        assert "no canary is under way" in text
        assert "aborted" in text
        assert "too slow" in text
        assert read("rollout", "status", MODEL_ID)["earlier"][0]["by"] == "ann"

    def test_of_an_unknown_model(self):
        assert f"there are: {MODEL_ID}" in refused("rollout", "status", "team-x.other.v1")


class TestHand:
    def test_promoted_it_is_live(self, canary: Home):
        assert told("rollout", "promote", MODEL_ID).startswith(f"promoted the canary {MODEL_ID}@{NEXT}")
        assert (last(canary, "rollout-requested")["by"], last(canary, "rollout-requested")["version"]) == (
            "ann",
            NEXT,
        )
        canary.pump()
        assert live(canary) == NEXT

    def test_aborted_it_is_not(self, canary: Home):
        told("rollout", "abort", MODEL_ID)
        canary.pump()
        assert live(canary) == LIVE
        assert last(canary, "rollout-moved")["what"] == "aborted"
        assert "canary" in read("show", f"{MODEL_ID}@{NEXT}")["deployment_failure"]["cause"]

    def test_paused_and_resumed(self, canary: Home):
        told("rollout", "pause", MODEL_ID)
        canary.pump()
        assert "is paused already" in refused("rollout", "pause", MODEL_ID)
        told("rollout", "resume", MODEL_ID)
        canary.pump()
        assert read("rollout", "status", MODEL_ID)["rollout"]["state"] == "held"

    def test_a_rollback_without_a_version_ends_it(self, canary: Home):
        assert told("rollback", MODEL_ID).startswith(f"aborted the canary {MODEL_ID}@{NEXT}")
        canary.pump()
        assert live(canary) == LIVE

    def test_requests_that_do_well_bring_it_on(self, canary: Home):
        for _ in range(3):
            measure(canary, 50)
        assert live(canary) == NEXT

    def test_requests_that_fail_as_the_live_one_s_do_not_hold_it_up(self, canary: Home):
        measure(canary, 50)
        measure(canary, 50, errors=40)  # of both: nothing says that it is the canary's fault
        assert read("rollout", "status", MODEL_ID)["rollout"]["step"] == 3

    @pytest.mark.parametrize("action", ["pause", "resume", "promote", "abort"])
    def test_without_a_canary_that_is_told(self, forge: Home, action: str):
        assert f"no canary of {MODEL_ID} is under way" in refused("rollout", action, MODEL_ID)
        assert forge.bus.log(Query(name="rollout-requested")) == []


class TestDeploy:
    def test_an_earlier_version(self, forge: Home):
        text = told("deploy", MODEL_ID, "--version", "1.0.0", "--reason", "again")
        assert text.startswith(f"deploying {MODEL_ID}@1.0.0, strategy replace, once its engine is ready")
        forge.pump()
        assert live(forge) == "1.0.0"
        assert last(forge, "deploy-requested")["by"] == "ann"

    def test_as_a_canary_with_a_share_of_its_own(self, forge: Home):
        text = told("deploy", MODEL_ID, "--version", "1.0.0", "--weight", "0.02")
        assert "strategy canary from 2% of the requests on" in text
        assert last(forge, "deploy-requested")["weight"] == 0.02

    def test_one_that_stands_by_at_once(self, forge: Home):
        told("deploy", MODEL_ID, "--version", "1.0.0", "--strategy", "blue-green")
        forge.pump(until=lambda: live(forge) == "1.0.0")
        text = told("deploy", MODEL_ID, "--version", "1.1.0")
        assert "at once: its engine still stands" in text

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--version", "9.9.9"], "has no version 9.9.9; there are: 1.0.0, 1.1.0"),
            (["--version", LIVE], f"{MODEL_ID}@{LIVE} already answers"),
        ],
    )
    def test_a_mistake_is_told_at_once(self, forge: Home, words: list[str], said: str):
        assert said in refused("deploy", MODEL_ID, *words)
        assert forge.bus.log(Query(name="deploy-requested")) == []

    def test_what_is_a_canary_already_is_not_begun_again(self, canary: Home):
        assert "is a canary already" in refused("deploy", MODEL_ID, "--version", NEXT)

    def test_a_weight_is_a_canary_s(self):
        result = kuznia("deploy", MODEL_ID, "--version", "1.0.0", "--weight", "0.1", "--strategy", "replace")
        assert result.exit_code == 2
        assert "--weight is a canary's" in result.stderr

    @pytest.mark.parametrize("weight", ["0", "1", "1.5", "much"])
    def test_a_weight_is_a_share(self, weight: str):
        assert kuznia("deploy", MODEL_ID, "--version", "1.0.0", "--weight", weight).exit_code == 2
