"""Which measurements are asked for, and how they are judged."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.validation import SERVICE
from services.validation.decide import judge
from shared.errors import Retry
from shared.record import Dead
from tests.memory import START
from tests.services.words import (
    MODEL_ID,
    Hearing,
    artifact,
    changed,
    evaluated,
    registered,
    said,
    started,
    wished,
)

KEY = f"evaluations/{MODEL_ID}@1.0.0"


@pytest.fixture
def evaluation() -> Hearing:
    return Hearing(SERVICE, KEY)


@pytest.fixture
def asked(evaluation: Hearing) -> Hearing:
    evaluation.hear(started())
    evaluation.hear(registered())
    return evaluation


def roles(decision: Any) -> list[str]:
    return [arguments["role"] for effect, arguments in wished(decision) if effect == "measure"]


def job(role: str, phase: str, **facts: Any) -> Any:
    return changed(phase, f"eval-{role}-r-0123456789abcdef", "validation", KEY, **facts)


class TestAsking:
    def test_what_was_trained_on_gpus_is_measured_on_one_such_node(self, evaluation: Hearing):
        asked = {"gpu": "nvidia-l4", "gpus": 2, "nodes": 4, "spot": True, "memory_gb": 24.0, "hours": 6.0}
        ((_, arguments),) = wished(evaluation.hear(started(resources=asked)))
        assert arguments["resources"] == {"gpu": "nvidia-l4", "gpus": 2, "spot": True, "memory_gb": 24.0}

    def test_without_a_gpu_nothing_is_asked_of_the_node(self, evaluation: Hearing):
        ((_, arguments),) = wished(evaluation.hear(started(resources={"gpu": "none", "memory_gb": 4.0})))
        assert "resources" not in arguments

    def test_the_base_is_measured_while_training_runs(self, evaluation: Hearing):
        decision = evaluation.hear(started())
        assert (evaluation.status, roles(decision)) == ("MEASURING", ["base"])
        ((_, arguments),) = wished(decision)
        assert arguments["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
        assert arguments["template"] == "chatml"
        assert arguments["evaluation"]["set"] == "eval.json"
        assert arguments["artifact"] is None

    def test_both_are_told_which_revision_the_config_asks_for(self, evaluation: Hearing):
        begun, done = started(), registered()
        for origin in (begun.origin, done.origin):
            origin.config["model_revision"] = "v1.0"
        told = [wished(evaluation.hear(said))[0][1]["base_revision"] for said in (begun, done)]
        assert told == ["v1.0", "v1.0"]

    def test_the_tuned_one_once_it_is_registered(self, evaluation: Hearing):
        evaluation.hear(started())
        decision = evaluation.hear(registered())
        assert roles(decision) == ["tuned"]
        assert wished(decision)[0][1]["artifact"]["manifest_digest"] == artifact().manifest_digest

    def test_both_where_the_start_was_not_heard_of(self, evaluation: Hearing):
        assert roles(evaluation.hear(registered())) == ["base", "tuned"]
        assert evaluation.hear(started()) is None

    def test_each_once(self, asked: Hearing):
        assert asked.hear(started()) is None
        assert asked.hear(registered()) is None

    def test_once_judged_nothing_is_asked_again(self, asked: Hearing):
        asked.hear(evaluated("base"))
        asked.hear(evaluated("tuned"))
        assert asked.hear(registered()) is None


class TestJudging:
    def test_with_both_it_passes(self, asked: Hearing):
        assert wished(asked.hear(evaluated("base"))) == []
        decision = asked.hear(evaluated("tuned"))
        assert asked.status == "PASSED"
        ((effect, verdict),) = wished(decision)
        assert (effect, said(decision)) == ("report", [])
        assert (verdict["passed"], verdict["rows"], verdict["set_digest"]) == (True, 14, "sha256:set")
        assert (verdict["metrics"], verdict["baseline"]) == ({"contains": 0.93}, {"contains": 0.0})
        assert [(gate["metric"], gate["demand"], gate["passed"]) for gate in verdict["gates"]] == [
            ("contains", ">= 0.7", True),
            ("contains", "gain over the base model >= 0.4", True),
        ]

    def test_the_order_does_not_matter(self, asked: Hearing):
        asked.hear(evaluated("tuned"))
        asked.hear(evaluated("base"))
        assert asked.status == "PASSED"

    def test_below_a_threshold_it_fails(self, asked: Hearing):
        asked.hear(evaluated("base"))
        decision = asked.hear(evaluated("tuned", metrics={"contains": 0.69}))
        assert asked.status == "FAILED"
        assert wished(decision)[0][1]["passed"] is False

    def test_without_the_gain_it_fails(self, asked: Hearing):
        asked.hear(evaluated("base", metrics={"contains": 0.6}))
        asked.hear(evaluated("tuned"))
        assert asked.status == "FAILED"
        assert [gate["passed"] for gate in asked.data["gates"]] == [True, False]

    @pytest.mark.parametrize("role", ["base", "tuned"])
    def test_what_could_not_be_measured_does_not_pass(self, asked: Hearing, role: str):
        other = {"base": "tuned", "tuned": "base"}[role]
        asked.hear(evaluated(role, outcome="failed", metrics={}, cause="eval.json has no row"))
        asked.hear(evaluated(other))
        assert asked.status == "FAILED"
        assert asked.data["gates"][0]["demand"].startswith(f"the {role} model is measured")
        assert asked.data["results"][role]["cause"] == "eval.json has no row"

    def test_the_first_measurement_holds(self, asked: Hearing):
        asked.hear(evaluated("base"))
        assert asked.hear(evaluated("base", metrics={"contains": 1.0})) is None
        asked.hear(evaluated("tuned"))
        assert asked.hear(evaluated("tuned")) is None

    def test_a_job_that_died_without_a_word_is_a_failed_measurement(self, asked: Hearing):
        asked.hear(evaluated("base"))
        asked.hear(job("tuned", "failed", reason="OutOfMemory", message="4 GB were not enough"))
        assert asked.status == "FAILED"
        assert asked.data["results"]["tuned"]["cause"] == "OutOfMemory: 4 GB were not enough"

    def test_a_job_that_ended_without_a_word_too(self, asked: Hearing):
        asked.hear(job("base", "succeeded"))
        assert asked.data["results"]["base"]["cause"] == "the job ended without a word"
        asked.hear(evaluated("tuned"))
        assert asked.status == "FAILED"

    @pytest.mark.parametrize("phase", ["running", "ready"])
    def test_a_job_that_runs_says_nothing(self, asked: Hearing, phase: str):
        assert asked.hear(job("base", phase)) is None

    def test_a_job_that_has_spoken_says_nothing_more_by_its_end(self, asked: Hearing):
        asked.hear(evaluated("base"))
        assert asked.hear(job("base", "succeeded")) is None
        asked.hear(evaluated("tuned"))
        assert asked.hear(job("tuned", "failed", reason="Killed", message="late")) is None
        assert asked.status == "PASSED"

    def test_while_the_pod_s_word_may_lie_among_the_dead_letters_there_is_no_verdict(self, asked: Hearing):
        asked.record = msgspec.structs.replace(
            asked.record, dead=Dead(event="e-lost", cause="no room", at=START)
        )
        with pytest.raises(Retry, match="redrive that first"):
            asked.hear(job("tuned", "succeeded"))

    def test_of_the_cluster_s_changes_only_our_own_jobs_are_heard(self, asked: Hearing):
        assert SERVICE.key(asked.event(changed("failed", "train-1", "training", "runs/r-1"))) is None


def result(role: str, **metrics: float) -> dict[str, Any]:
    return {"role": role, "outcome": "succeeded", "metrics": metrics}


def gates(
    evaluation: dict[str, Any], tuned: dict[str, Any], base: dict[str, Any]
) -> list[tuple[str, str, Any, bool]]:
    return [(g.metric, g.demand, g.measured, g.passed) for g in judge(evaluation, tuned, base)]


@pytest.mark.parametrize(
    ("bound", "measured", "demand", "passed"),
    [
        ({"min": 0.7, "max": None}, 0.7, ">= 0.7", True),
        ({"min": 0.7, "max": None}, 0.6999, ">= 0.7", False),
        ({"max": 2.0}, 2.0, "<= 2", True),
        ({"max": 2.0}, 2.01, "<= 2", False),
        ({"min": 0.0, "max": 1.0}, 0.0, ">= 0 and <= 1", True),
        ({"min": 0.2, "max": 0.4}, 0.5, ">= 0.2 and <= 0.4", False),
        ({"min": 0.7}, None, ">= 0.7", False),
    ],
)
def test_thresholds(bound: dict[str, float], measured: float | None, demand: str, passed: bool):
    tuned = result("tuned") if measured is None else result("tuned", contains=measured)
    found = gates({"thresholds": {"contains": bound}}, tuned, result("base"))
    assert found == [("contains", demand, measured, passed)]


@pytest.mark.parametrize(
    ("metric", "tuned", "base", "gain", "passed"),
    [
        ("contains", 0.9, 0.5, 0.4, True),
        ("contains", 0.8, 0.5, 0.3, False),
        ("loss", 1.0, 1.5, 0.5, True),
        ("loss", 1.5, 1.0, -0.5, False),
    ],
)
def test_the_gain_over_the_base(metric: str, tuned: float, base: float, gain: float, passed: bool):
    found = gates(
        {"baseline": {"metric": metric, "min_gain": 0.4}},
        result("tuned", **{metric: tuned}),
        result("base", **{metric: base}),
    )
    assert found == [(metric, "gain over the base model >= 0.4", pytest.approx(gain), passed)]


@pytest.mark.parametrize(("tuned", "base"), [({}, {"contains": 0.1}), ({"contains": 0.9}, {})])
def test_a_gain_that_cannot_be_told_is_none(tuned: dict[str, float], base: dict[str, float]):
    found = gates({"baseline": {"metric": "contains"}}, result("tuned", **tuned), result("base", **base))
    assert found == [("contains", "gain over the base model >= 0", None, False)]


def test_without_thresholds_what_was_measured_passes():
    assert judge({}, result("tuned"), result("base")) == ()


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_more_never_fails_where_less_passed(least: float, measured: float, more: float):
    evaluation = {"thresholds": {"contains": {"min": least}}}
    low, high = sorted([measured, more])
    (first,), (second,) = (
        judge(evaluation, result("tuned", contains=value), result("base")) for value in (low, high)
    )
    assert second.passed or not first.passed
