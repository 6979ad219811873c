"""The platform's own judge of a canary: sent once a step, waited for, told where it could not judge."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from events.answers_judged import AnswersJudged
from events.model_wanted import ModelWanted
from events.rollout_moved import RolloutMoved
from services.deployment.effects import JUDGE_SECONDS, effects
from services.deployment.rollout import Rollout
from shared.ports.cluster import Workload
from shared.record import Do
from shared.service import Decision, Wish
from tests.services.deployment.test_canary import KEY, STEPS, V1, V2, V3, Desk, figures, moves, told
from tests.services.words import MODEL_ID, SOURCE, changed

JUDGE = {"metric": "contains", "max_drop": 0.1, "samples": 10, "by": "platform"}
PLAN = {"strategy": "canary", "canary": {"steps": STEPS, "patience_minutes": 15, "judge": JUDGE}}
PROMOTE = {**PLAN, "canary": {**PLAN["canary"], "without_traffic": "promote"}}  # type: ignore[dict-item]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.up(V1)
    return desk


@pytest.fixture
def canary(desk: Desk) -> Desk:
    desk.up(V2, PLAN)
    return desk


def sent(decision: Decision | None, effect: str = "judge") -> list[Wish]:
    return [wish for wish in decision.wishes if wish.effect == effect] if decision else []


def say(desk: Desk, version: str, mean: float, mark: str = "", metric: str = "contains") -> Decision | None:
    mark = mark or desk.data["split"]["mark"]
    word = AnswersJudged(
        model_id=MODEL_ID, version=version, metric=metric, samples=10, mean=mean, judge="kuznia", mark=mark
    )
    return desk.hear(word)


def both(desk: Desk, live: float, canary: float) -> Decision | None:
    say(desk, V1, live)
    return say(desk, V2, canary)


def ends(desk: Desk, phase: str = "failed", job: str = "") -> Decision | None:
    job = job or desk.data["rollout"]["judging"]
    reason = "Error" if phase == "failed" else ""
    end = changed(phase, job, "deployment", KEY, reason=reason, message="the set has no row")
    return desk.hear(msgspec.structs.replace(end, kind="job"))


class TestSent:
    def test_with_the_canary_s_beginning(self, desk: Desk):
        (wish,) = sent(desk.up(V2, PLAN))
        asked = wish.arguments
        assert (asked["mark"], asked["step"], asked["metric"], asked["samples"]) == ("1.0", 0, "contains", 10)
        assert (asked["source"]["commit"], asked["evaluation"]) == (SOURCE.commit, {"set": "eval.json"})
        versions = desk.data["versions"]
        assert [engine["version"] for engine in asked["engines"]] == [V1, V2]
        assert [engine["address"] for engine in asked["engines"]] == ["127.0.0.1:41001", "127.0.0.1:41002"]
        assert [engine["keeper"] for engine in asked["engines"]] == [
            versions[V1]["release"],
            versions[V2]["release"],
        ]
        assert asked["engines"][1]["model"] == versions[V2]["engine_model"]
        assert asked["job"] == desk.data["rollout"]["judging"]

    def test_once_a_step(self, canary: Desk):
        assert sent(canary.well()) == []
        assert sent(both(canary, 0.9, 0.9)) == []
        (wish,) = sent(canary.come())
        assert (wish.arguments["mark"], wish.arguments["step"]) == ("1.1", 1)

    @pytest.mark.parametrize(
        "plan", [{**JUDGE, "by": "events"}, {k: v for k, v in JUDGE.items() if k != "by"}, None]
    )
    def test_only_where_the_plan_says_so(self, desk: Desk, plan: dict[str, Any] | None):
        desk.up(V2, {"strategy": "canary", "canary": {"steps": STEPS, "judge": plan}})
        assert desk.data["rollout"]["judging"] == ""
        assert "questions" not in desk.data["versions"][V2]
        desk.well()
        assert moves(desk.come()) == ["stepped"]

    def test_not_before_the_live_one_is_awake(self, desk: Desk):
        desk.up(V2, {"scale_to_zero_minutes": 5})
        desk.come()
        assert desk.state(V2) == "asleep"
        desk.deploy(V1, strategy="canary")
        desk.ready(V1)
        assert desk.data["rollout"]["judging"] == "", "its own plan has no judge"
        desk.operate("abort", V1)
        assert sent(desk.up(V3, PLAN)) == []
        asleep = desk.data["versions"][V2]["release"]
        desk.hear(ModelWanted(model_id=MODEL_ID, version=V2, release=asleep))
        (wish,) = sent(desk.ready(V2))
        assert [engine["version"] for engine in wish.arguments["engines"]] == [V2, V3]


class TestJudged:
    def test_worse_answers_take_it_back(self, canary: Desk):
        decision = both(canary, 0.9, 0.7)
        assert moves(decision) == ["went-back"]
        assert "its contains is 0.7 over 10 answers" in told(decision, RolloutMoved).reason
        assert (canary.state(V2), canary.weights) == ("failed", {})

    def test_not_before_both_are_told_of(self, canary: Desk):
        assert moves(say(canary, V2, 0.1)) == []
        assert moves(say(canary, V1, 0.9)) == ["went-back"]

    def test_just_so_much_is_allowed(self, canary: Desk):
        assert moves(both(canary, 1.0, 0.9)) == []
        assert canary.state(V2) == "canary"

    def test_the_same_words_again_count_once(self, canary: Desk):
        both(canary, 0.9, 0.9)
        both(canary, 0.9, 0.2)
        scores = canary.data["rollout"]["scores"]
        assert (scores[V2]["samples"], scores[V2]["total"]) == (10, 9.0)

    @pytest.mark.parametrize("other", [{"mark": "1.7"}, {"mark": "9.0"}, {"metric": "rouge_l"}])
    def test_others_words_count_for_nothing(self, canary: Desk, other: dict[str, str]):
        say(canary, V1, 0.9)
        assert moves(say(canary, V2, 0.1, **other)) == []
        assert canary.state(V2) == "canary"

    def test_scores_of_all_steps_add_up(self, canary: Desk):
        both(canary, 0.9, 0.85)
        canary.well()
        assert moves(canary.come()) == ["stepped"]
        decision = both(canary, 0.9, 0.7)  # 0.775 of 0.9
        assert moves(decision) == ["went-back"]
        assert "0.775 over 20 answers" in told(decision, RolloutMoved).reason


class TestWaitedFor:
    def test_a_step_ends_with_the_judge_s_word(self, canary: Desk):
        canary.well()
        assert moves(canary.come()) == []
        assert moves(say(canary, V1, 0.9)) == []
        decision = say(canary, V2, 0.9)
        assert moves(decision) == ["stepped"]
        assert "score 0.9 against 0.9 over 10 answers" in told(decision, RolloutMoved).reason
        assert canary.weights == {V1: 0.5, V2: 0.5}

    def test_paused_it_does_not_end(self, canary: Desk):
        canary.well()
        canary.come()
        canary.operate("pause")
        assert moves(both(canary, 0.9, 0.9)) == []
        assert moves(canary.operate("resume")) == ["resumed"]
        assert moves(canary.come()) == ["stepped"]

    def test_for_so_long_as_the_plan_has_patience_then_it_is_held(self, canary: Desk):
        canary.well()
        assert [moves(canary.come()) for _ in range(3)] == [[], [], ["held"]]
        reason = canary.data["rollout"]["reason"]
        assert reason.startswith(
            "after 15 minutes its answers are not judged yet: its judge still asks: it waits"
        )
        assert canary.weights == {V1: 0.9, V2: 0.1}

    def test_held_it_goes_on_once_it_is_judged(self, canary: Desk):
        canary.well()
        for _ in range(3):
            canary.come()
        assert moves(both(canary, 0.9, 0.9)) == ["stepped"]

    def test_or_it_goes_on_unjudged_where_the_plan_wants_that(self, desk: Desk):
        desk.up(V2, PROMOTE)
        late = desk.data["rollout"]["judging"]
        desk.well()
        desk.come()
        desk.come()
        decision = desk.come()
        assert moves(decision) == ["stepped"]
        assert [wish.arguments["release"] for wish in sent(decision, "stop")] == [late]
        assert "not judged" in told(decision, RolloutMoved).reason
        desk.well()
        desk.come()
        decision = desk.come()
        assert moves(decision) == ["finished"]
        assert "did well" not in told(decision, RolloutMoved).reason
        assert desk.data["live"] == V2


class TestFailed:
    def test_it_takes_the_canary_nowhere_and_is_told(self, canary: Desk):
        canary.well()
        decision = ends(canary)
        moved = told(decision, RolloutMoved)
        assert (moved.what, moved.weight, moved.reason) == ("unjudged", 0.1, "Error: the set has no row")
        assert (canary.state(V2), canary.weights) == ("canary", {V1: 0.9, V2: 0.1})
        assert sent(decision) == []

    def test_with_the_next_look_another_is_sent(self, canary: Desk):
        canary.well()
        first = canary.data["rollout"]["judging"]
        ends(canary)
        (wish,) = sent(canary.come())
        assert (wish.arguments["mark"], wish.arguments["job"] == first) == ("1.0", False)
        assert moves(both(canary, 0.9, 0.9)) == ["stepped"]

    def test_until_it_is_held_with_the_cause(self, canary: Desk):
        canary.well()
        for _ in range(2):
            ends(canary)
            canary.come()
        ends(canary)
        assert moves(canary.come()) == ["held"]
        assert "not judged yet: Error: the set has no row: it waits" in canary.data["rollout"]["reason"]
        assert sent(canary.well()) == [], "it waits for an operator"
        assert len(sent(canary.operate("resume"))) == 1

    def test_an_end_without_a_word_is_a_failure_too(self, canary: Desk):
        assert told(ends(canary, "succeeded"), RolloutMoved).reason == "its judge ended without a word"

    def test_its_end_after_its_words_is_none(self, canary: Desk):
        job = canary.data["rollout"]["judging"]
        both(canary, 0.9, 0.9)
        assert ends(canary, "succeeded", job) is None
        assert ends(canary, "failed", "judge-of-another") is None

    def test_with_the_canary_it_ends(self, canary: Desk):
        job = canary.data["rollout"]["judging"]
        decision = canary.traffic(v1_1_0=figures(60, errors=60))
        assert moves(decision) == ["went-back"]
        assert sent(decision, "stop")[0].arguments == {"release": job}


class TestAskedFor:
    def test_the_cluster_is_asked_for_a_job_of_the_name(self, desk: Desk):
        applied: list[Workload] = []
        ports: Any = SimpleNamespace(cluster=SimpleNamespace(apply=applied.append))
        (wish,) = sent(desk.up(V2, PLAN))
        do = Do(id="do-1", effect="judge", arguments=wish.arguments, cause="e-1", traceparent="00-trace")
        for _ in range(2):
            assert effects(ports)["judge"](do, desk.record) == []
        workload, again = applied
        assert workload == again
        assert (workload.name, workload.kind, workload.key) == (wish.arguments["job"], "job", KEY)
        assert workload.module == "services.deployment.judge"
        assert workload.labels == {"tenant": "team-x", "model": MODEL_ID, "version": V2}
        assert (workload.limits.deadline_seconds, workload.document["resources"]["gpu"]) == (
            JUDGE_SECONDS,
            "none",
        )
        assert (workload.document["cause"], workload.document["traceparent"]) == ("e-1", "00-trace")


class TestTold:
    def judgement(self, desk: Desk) -> str:
        return msgspec.convert(desk.data["rollout"], Rollout).judgement

    def test_how_it_stands_with_the_judge(self, canary: Desk):
        assert self.judgement(canary) == "its answers are not judged yet: its judge still asks"
        ends(canary)
        assert self.judgement(canary) == "its answers are not judged yet: Error: the set has no row"
        both(canary, 0.9, 0.9)
        assert self.judgement(canary) == "its answers are judged"

    def test_nothing_where_there_is_none(self, desk: Desk):
        desk.up(V2, {"strategy": "canary", "canary": {"steps": STEPS}})
        assert self.judgement(desk) == ""
