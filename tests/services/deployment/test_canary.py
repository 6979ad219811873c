"""A canary: gates before any weight, steps by its figures, back by itself, and the operator's hand in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.answers_judged import AnswersJudged
from events.deploy_requested import DeployRequested
from events.deployment_failed import DeploymentFailed
from events.model_deployed import ModelDeployed
from events.model_deprecated import ModelDeprecated
from events.model_wanted import ModelWanted
from events.release_due import ReleaseDue
from events.rollback_requested import RollbackRequested
from events.rollout_moved import RolloutMoved
from events.rollout_requested import RolloutRequested
from events.traffic_measured import BOUNDS, Figures, TrafficMeasured
from services.deployment import SERVICE
from shared.errors import Reject
from shared.lifecycle import guard
from shared.service import Decision
from tests.services.words import MODEL_ID, Hearing, card, changed, registered, rejected, said, validated

KEY = f"releases/{MODEL_ID}"
V1, V2, V3 = "1.0.0", "1.1.0", "1.2.0"
STEPS = [{"weight": 0.1, "minutes": 5, "requests": 20}, {"weight": 0.5, "minutes": 10, "requests": 40}]
CANARY = {"strategy": "canary", "keep_minutes": 10, "canary": {"steps": STEPS, "patience_minutes": 15}}
JUDGED = {
    **CANARY,
    "canary": {"steps": STEPS, "judge": {"metric": "help", "max_drop": 0.1, "samples": 10}},
}
BLUE = {"strategy": "blue-green", "keep_minutes": 10}
START = datetime(2026, 1, 5, tzinfo=UTC)


def slots(seconds: float, count: int) -> tuple[int, ...]:
    at = next(number for number, bound in enumerate(BOUNDS) if bound >= seconds)
    return tuple(count if number == at else 0 for number in range(len(BOUNDS) + 1))


def figures(requests: int, errors: int = 0, first: float = 0.1, last: float = 1.0) -> Figures:
    good = requests - errors
    return Figures(requests=requests, errors=errors, ttft=slots(first, good), latency=slots(last, good))


class Desk(Hearing):
    """The releases of one model, whose second version is to be a canary."""

    def __init__(self) -> None:
        super().__init__(SERVICE, KEY)
        self.port = 41000
        self.due: list[ReleaseDue] = []
        self.delays: dict[str, float] = {}

    def hear(self, payload: Any) -> Decision | None:
        decision = super().hear(payload)
        for wish in decision.wishes if decision else ():
            if wish.effect == "remind":
                self.due.append(ReleaseDue(**wish.arguments))
                self.delays[wish.arguments["what"]] = wish.delay
        return decision

    def state(self, version: str) -> str:
        return str(self.data["versions"][version]["state"])

    def ready(self, version: str) -> Decision | None:
        self.port += 1
        name = self.data["versions"][version]["release"]
        return self.hear(changed("ready", name, "deployment", KEY, address=f"127.0.0.1:{self.port}"))

    def up(self, version: str, deployment: dict[str, Any] | None = None) -> Decision | None:
        """A version, all the way to where its engine answers and every gate is open."""
        self.hear(registered(version, deployment=deployment or {}))
        self.hear(validated(version))
        self.hear(card(version))
        return self.ready(version)

    def come(self) -> Decision | None:
        """The newest moment that was set comes."""
        return self.hear(self.due[-1])

    def traffic(self, mark: str = "", **versions: Figures) -> Decision | None:
        measured = {name[1:].replace("_", "."): of for name, of in versions.items()}
        word = TrafficMeasured(
            model_id=MODEL_ID,
            gateway="g",
            mark=mark or self.data["split"].get("mark", ""),
            since=START,
            until=START,
            versions=measured,
        )
        return self.hear(word)

    def well(self, requests: int = 60) -> Decision | None:
        return self.traffic(v1_0_0=figures(9 * requests), v1_1_0=figures(requests))

    def operate(self, action: Any, version: str = V2, by: str = "ben") -> Decision | None:
        word = RolloutRequested(model_id=MODEL_ID, version=version, action=action, by=by, reason="seen")
        return self.hear(word)

    def deploy(self, version: str, **how: Any) -> Decision | None:
        return self.hear(DeployRequested(model_id=MODEL_ID, version=version, by="ben", **how))

    @property
    def weights(self) -> dict[str, float]:
        found: dict[str, float] = self.data["weights"]
        return found


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.up(V1)
    return desk


@pytest.fixture
def canary(desk: Desk) -> Desk:
    desk.up(V2, CANARY)
    return desk


def moves(decision: Decision | None) -> list[str]:
    return [word.what for word in said(decision) if isinstance(word, RolloutMoved)]


def told(decision: Decision | None, kind: type) -> Any:
    (word,) = [word for word in said(decision) if isinstance(word, kind)]
    return word


class TestBegin:
    def test_with_every_gate_open_it_gets_its_first_share(self, canary: Desk):
        assert canary.weights == {V1: 0.9, V2: 0.1}
        assert (canary.data["live"], canary.state(V1), canary.state(V2)) == (V1, "live", "canary")
        assert (canary.data["split"]["mark"], canary.delays["step"]) == ("1.0", 300)

    @pytest.mark.parametrize("missing", ["validated", "card", "ready"])
    def test_before_that_it_gets_nothing(self, desk: Desk, missing: str):
        desk.hear(registered(V2, deployment=CANARY))
        steps = {
            "validated": lambda: desk.hear(validated(V2)),
            "card": lambda: desk.hear(card(V2)),
            "ready": lambda: desk.ready(V2),
        }
        for name, step in steps.items():
            if name != missing:
                assert moves(step()) == []
        assert desk.weights == {}
        assert moves(steps[missing]()) == ["began"]

    def test_without_its_approval_it_gets_nothing(self, desk: Desk):
        desk.hear(registered(V2, deployment=CANARY, risk_class="HIGH_RISK"))
        desk.hear(validated(V2))
        desk.hear(card(V2))
        assert (desk.weights, desk.state(V2)) == ({}, "candidate")

    def test_where_nothing_is_live_it_goes_live_at_once(self):
        desk = Desk()
        assert moves(desk.up(V2, CANARY)) == []
        assert (desk.data["live"], desk.weights) == (V2, {})

    def test_the_store_refuses_weights_of_what_is_not_gated(self, canary: Desk):
        def refused(change: dict[str, Any], **more: Any) -> str:
            versions = {**canary.data["versions"], V2: {**canary.data["versions"][V2], **change}}
            data = {**canary.data, "versions": versions, **more}
            with pytest.raises(Reject) as error:
                guard(canary.record, type(canary.record)(key=KEY, revision=9, status="ACTIVE", data=data))
            return str(error.value)

        assert "needs a passed validation" in refused({"validated_digest": ""})
        assert "needs a card" in refused({"card_digest": ""})
        assert "needs an approval" in refused({"approval_needed": True})
        assert "is no canary that answers" in refused({"state": "ready"})
        assert "is no canary that answers" in refused({"address": ""})
        assert "do not add up to 1" in refused({}, weights={V1: 0.5, V2: 0.1})
        assert "cannot have" in refused({}, weights={V1: 1.5, V2: -0.5})

    def test_how_canaries_ended_is_never_rewritten(self, canary: Desk):
        canary.operate("abort")
        data = {**canary.data, "rollouts": []}
        with pytest.raises(Reject, match="never rewritten"):
            guard(canary.record, type(canary.record)(key=KEY, revision=9, status="ACTIVE", data=data))


class TestSteps:
    def test_it_goes_on_when_its_time_is_over_and_it_did_well(self, canary: Desk):
        assert moves(canary.well()) == []
        decision = canary.come()
        moved = told(decision, RolloutMoved)
        assert (moved.what, moved.weight, moved.step, moved.of, moved.by) == (
            "stepped",
            0.5,
            2,
            2,
            "deployment",
        )
        assert "60 requests, errors 0.0% against 0.0%" in moved.reason
        assert moved.figures[V2]["requests"] == 60
        assert (canary.weights, canary.delays["step"]) == ({V1: 0.5, V2: 0.5}, 600)

    def test_after_the_last_step_it_is_live(self, canary: Desk):
        canary.well()
        canary.come()
        canary.well()
        decision = canary.come()
        assert moves(decision) == ["finished"]
        assert told(decision, ModelDeployed).reason.startswith("its canary did well: 60 requests")
        assert (canary.data["live"], canary.weights, canary.data["rollout"]) == (V2, {}, {})
        assert [over["what"] for over in canary.data["rollouts"]] == ["finished"]

    def test_windows_of_several_gateways_add_up(self, canary: Desk):
        for _ in range(4):
            canary.traffic(v1_1_0=figures(5))
        assert moves(canary.come()) == ["stepped"]

    def test_figures_of_another_step_count_for_nothing(self, canary: Desk):
        canary.well()
        canary.come()
        canary.traffic(mark="1.0", v1_1_0=figures(100, errors=90))
        assert canary.data["rollout"]["figures"].get(V2) is None
        assert canary.state(V2) == "canary"

    def test_a_moment_that_was_set_before_does_not_count(self, canary: Desk):
        first = canary.due[-1]
        canary.well()
        canary.come()
        canary.well()
        assert canary.hear(first) is None
        assert canary.weights == {V1: 0.5, V2: 0.5}

    def test_too_few_requests_are_waited_for(self, canary: Desk):
        canary.well(5)
        assert moves(canary.come()) == []
        canary.well(15)
        assert moves(canary.come()) == ["stepped"]


class TestWithoutTraffic:
    def test_after_its_patience_it_is_held(self, canary: Desk):
        assert [moves(canary.come()) for _ in range(3)] == [[], [], ["held"]]
        assert canary.weights == {V1: 0.9, V2: 0.1}
        assert canary.data["rollout"]["reason"].startswith("0 of 20 requests in 15 minutes")

    def test_held_it_goes_on_once_requests_come(self, canary: Desk):
        for _ in range(3):
            canary.come()
        assert moves(canary.well(10)) == []
        assert moves(canary.well(10)) == ["stepped"]

    def test_or_it_is_promoted_where_the_plan_says_so(self, desk: Desk):
        patient = {**CANARY, "canary": {"steps": STEPS, "patience_minutes": 5, "without_traffic": "promote"}}
        desk.up(V2, patient)
        assert moves(desk.come()) == ["finished"]
        assert desk.data["live"] == V2


class TestBack:
    @pytest.mark.parametrize(
        ("live", "new", "reason"),
        [
            (figures(180), figures(20, errors=1), "1 of 20 requests failed, 5.0%"),
            (figures(180), figures(5, errors=2), "2 of 5 requests failed"),
            (figures(180, errors=18), figures(20, errors=4), "4 of 20 requests failed, 20.0%, where 10.0%"),
            (figures(180), figures(20, first=0.5), "had their first byte within"),
            (figures(180), figures(20, last=3.0), "had their last byte within"),
        ],
    )
    def test_it_goes_back_as_soon_as_it_is_sure(self, canary: Desk, live: Figures, new: Figures, reason: str):
        decision = canary.traffic(v1_0_0=live, v1_1_0=new)
        assert moves(decision) == ["went-back"]
        assert reason in told(decision, RolloutMoved).reason
        assert reason in told(decision, DeploymentFailed).cause
        assert (canary.state(V2), canary.weights, canary.data["live"]) == ("failed", {}, V1)
        (stop,) = [wish for wish in (decision.wishes if decision else ()) if wish.effect == "stop"]
        assert stop.delay > 0

    @pytest.mark.parametrize(
        ("live", "new"),
        [
            (figures(180), figures(3, errors=0)),
            (figures(180, errors=18), figures(20, errors=2)),
            (figures(5), figures(20, first=0.5)),  # too few of the live one's to compare with
            (figures(180), figures(10, last=3.0)),  # too few of its own
            (figures(180, first=0.005), figures(20, first=0.015)),  # three times as long, and nothing
        ],
    )
    def test_but_not_for_what_says_nothing(self, canary: Desk, live: Figures, new: Figures):
        assert moves(canary.traffic(v1_0_0=live, v1_1_0=new)) == []

    def test_what_went_back_never_answers_by_itself(self, canary: Desk):
        canary.traffic(v1_1_0=figures(20, errors=20))
        assert moves(canary.well()) == []
        assert canary.come() is None
        canary.hear(card(V2, content="late"))
        assert (canary.state(V2), canary.data["live"]) == ("failed", V1)

    def test_an_operator_may_try_it_again(self, canary: Desk):
        canary.traffic(v1_1_0=figures(20, errors=20))
        canary.deploy(V2, reason="the network was down")
        decision = canary.ready(V2)
        assert moves(decision) == ["began"]
        assert told(decision, RolloutMoved).by == "ben"
        assert canary.data["split"]["mark"] == "2.0"

    def test_its_engine_s_end_is_its_end(self, canary: Desk):
        name = canary.data["versions"][V2]["release"]
        decision = canary.hear(
            changed("failed", name, "deployment", KEY, reason="OutOfMemory", message="at 8 GB")
        )
        assert moves(decision) == ["went-back"]
        assert told(decision, DeploymentFailed).cause == "OutOfMemory: at 8 GB"
        assert (canary.state(V2), canary.weights) == ("failed", {})

    def test_where_the_live_one_is_gone_the_canary_answers_everything(self, canary: Desk):
        name = canary.data["versions"][V1]["release"]
        decision = canary.hear(changed("failed", name, "deployment", KEY, reason="Killed", message=""))
        assert moves(decision) == ["finished"]
        assert (canary.data["live"], canary.weights) == (V2, {})

    def test_rejected_by_a_person_it_ends(self, canary: Desk):
        assert moves(canary.hear(rejected(V2))) == ["aborted"]
        assert (canary.state(V2), canary.weights) == ("refused", {})

    def test_restarted_elsewhere_it_goes_on(self, canary: Desk):
        canary.ready(V2)
        assert (canary.state(V2), canary.data["versions"][V2]["address"]) == ("canary", "127.0.0.1:41003")


class TestJudge:
    def heard(self, desk: Desk, version: str, mean: float, metric: str = "help") -> Decision | None:
        return desk.hear(
            AnswersJudged(
                model_id=MODEL_ID, version=version, metric=metric, samples=10, mean=mean, judge="support"
            )
        )

    def test_worse_answers_take_it_back(self, desk: Desk):
        desk.up(V2, JUDGED)
        self.heard(desk, V1, 0.9)
        decision = self.heard(desk, V2, 0.7)
        assert moves(decision) == ["went-back"]
        assert "its help is 0.7 over 10 answers" in told(decision, RolloutMoved).reason

    def test_as_good_or_by_another_metric_they_do_not(self, desk: Desk):
        desk.up(V2, JUDGED)
        self.heard(desk, V1, 0.9)
        assert moves(self.heard(desk, V2, 0.2, metric="style")) == []
        assert moves(self.heard(desk, V2, 0.85)) == []
        assert desk.state(V2) == "canary"

    def test_without_a_canary_nothing_follows(self, desk: Desk):
        assert self.heard(desk, V1, 0.9) is None


class TestOperators:
    def test_paused_it_goes_no_step_but_back(self, canary: Desk):
        decision = canary.operate("pause")
        assert (moves(decision), told(decision, RolloutMoved).by) == (["paused"], "ben")
        canary.well()
        assert canary.come() is None
        assert moves(canary.traffic(v1_1_0=figures(60, errors=60))) == ["went-back"]

    def test_resumed_it_goes_on(self, canary: Desk):
        canary.operate("pause")
        canary.well()
        assert moves(canary.operate("resume")) == ["resumed"]
        assert moves(canary.come()) == ["stepped"]

    def test_promoted_it_is_live_at_once(self, canary: Desk):
        decision = canary.operate("promote")
        assert (moves(decision), told(decision, ModelDeployed).reason) == (["finished"], "seen")
        assert (canary.data["live"], canary.data["rollouts"][0]["by"]) == (V2, "ben")

    def test_aborted_it_has_failed(self, canary: Desk):
        decision = canary.operate("abort")
        assert moves(decision) == ["aborted"]
        assert told(decision, DeploymentFailed).cause == "as a canary beside 1.0.0: seen"
        assert (canary.state(V2), canary.weights) == ("failed", {})

    def test_a_word_about_another_canary_is_refused(self, desk: Desk, canary: Desk):
        with pytest.raises(Reject, match=r"no canary of version 1\.0\.0 is under way, but of 1\.1\.0"):
            canary.operate("abort", V1)
        canary.operate("abort")
        with pytest.raises(Reject, match="but of none"):
            canary.operate("promote")

    def test_a_rollback_without_a_version_ends_it(self, canary: Desk):
        assert moves(canary.hear(RollbackRequested(model_id=MODEL_ID, version="", by="ben"))) == ["aborted"]
        assert (canary.data["live"], canary.state(V2)) == (V1, "failed")

    def test_a_first_share_of_ones_own(self, desk: Desk):
        desk.up(V2)  # it replaces V1 at once, as its plan says
        desk.deploy(V1, weight=0.02, strategy="canary")
        desk.ready(V1)
        assert desk.weights == {V2: 0.98, V1: 0.02}
        assert [step["weight"] for step in desk.data["rollout"]["canary"]["steps"]] == [0.02, 0.05, 0.25, 0.5]

    def test_what_is_under_way_or_live_is_not_begun_again(self, canary: Desk):
        assert canary.deploy(V2) is None
        assert canary.deploy(V1) is None
        with pytest.raises(Reject, match=r"there is no version 9\.9\.9 to deploy"):
            canary.deploy("9.9.9")


class TestOthers:
    def test_a_newer_version_takes_the_canary_s_place(self, canary: Desk):
        assert moves(canary.up(V3, CANARY)) == ["superseded", "began"]
        assert (canary.state(V2), canary.weights) == ("ready", {V1: 0.9, V3: 0.1})

    def test_and_if_that_one_goes_back_it_has_its_turn_again(self, canary: Desk):
        canary.up(V3, CANARY)
        decision = canary.traffic(v1_2_0=figures(20, errors=20))
        assert moves(decision) == ["went-back", "began"]
        assert canary.weights == {V1: 0.9, V2: 0.1}

    def test_and_if_that_one_is_promoted_it_is_not_needed(self, canary: Desk):
        canary.up(V3, CANARY)
        canary.operate("promote", V3)
        assert (canary.data["live"], canary.state(V2)) == (V3, "retired")

    def test_a_newer_version_without_canary_replaces_both(self, canary: Desk):
        assert moves(canary.up(V3)) == ["superseded"]
        assert (canary.data["live"], canary.state(V2), canary.weights) == (V3, "retired", {})


class TestStandingBy:
    @pytest.fixture
    def second(self, desk: Desk) -> Desk:
        desk.up(V2, BLUE)
        return desk

    def test_the_old_engine_is_kept(self, second: Desk):
        assert (second.state(V1), second.data["live"], second.delays["keep"]) == ("standing", V2, 600)

    def test_a_rollback_then_needs_no_start(self, second: Desk):
        decision = second.hear(RollbackRequested(model_id=MODEL_ID, version="", by="ben"))
        assert told(decision, ModelDeployed).version == V1
        assert [wish.effect for wish in (decision.wishes if decision else ())] == ["remind"]
        assert (second.data["live"], second.state(V2)) == (V1, "standing")

    def test_nor_does_a_deploy(self, second: Desk):
        assert told(second.deploy(V1), ModelDeployed).version == V1

    def test_after_its_time_it_ends(self, second: Desk):
        decision = second.come()
        assert [wish.effect for wish in (decision.wishes if decision else ())] == ["stop"]
        assert second.state(V1) == "retired"

    def test_the_time_of_an_earlier_switch_is_not_its_time(self, second: Desk):
        first = second.due[-1]
        second.deploy(V1)
        second.deploy(V2)
        assert second.hear(first) is None
        assert second.state(V1) == "standing"

    def test_only_the_last_one_is_kept(self, second: Desk):
        second.up(V3, BLUE)
        assert (second.state(V1), second.state(V2)) == ("retired", "standing")

    def test_one_that_dies_meanwhile_is_no_failure(self, second: Desk):
        name = second.data["versions"][V1]["release"]
        assert (
            said(second.hear(changed("failed", name, "deployment", KEY, reason="Killed", message=""))) == []
        )
        assert second.state(V1) == "retired"

    def test_replaced_by_word_it_is_not_kept(self, second: Desk):
        second.deploy(V1, strategy="replace")
        assert second.state(V2) == "retired"


SLEEPY = {"scale_to_zero_minutes": 30}


class TestSleep:
    @pytest.fixture
    def live(self) -> Desk:
        desk = Desk()
        desk.up(V1, SLEEPY)
        return desk

    def wake(self, desk: Desk) -> Decision | None:
        release = desk.data["versions"][V1]["release"]
        return desk.hear(ModelWanted(model_id=MODEL_ID, version=V1, release=release))

    def used(self, desk: Desk, minutes: float = 0, in_flight: int = 0) -> None:
        versions = {} if in_flight else {V1: figures(1)}
        word = TrafficMeasured(
            model_id=MODEL_ID,
            gateway="g",
            mark="",
            since=START,
            until=START + timedelta(minutes=minutes),
            versions=versions,
            in_flight=in_flight,
        )
        desk.hear(word)

    def test_idle_for_so_long_its_engine_ends_and_it_stays_live(self, live: Desk):
        assert live.delays["idle"] == 1800
        assert live.data["split"] == {"mark": "", "window": 600}
        decision = live.come()
        assert [(wish.effect, wish.delay > 0) for wish in (decision.wishes if decision else ())] == [
            ("stop", True)
        ]
        assert (live.data["live"], live.state(V1), live.data["versions"][V1]["address"]) == (V1, "asleep", "")
        assert said(decision) == []

    @pytest.mark.parametrize("in_flight", [0, 1])
    def test_in_use_it_stays_awake_as_long_from_then(self, live: Desk, in_flight: int):
        live.clock.move(1500)
        self.used(live, minutes=10, in_flight=in_flight)
        live.clock.move(299)
        assert live.come() is not None
        assert live.state(V1) == "live"
        assert live.delays["idle"] == pytest.approx(1800 + 600 - 300, abs=2)
        live.clock.move(2100)
        live.come()
        assert live.state(V1) == "asleep"

    def test_wanted_it_starts_once(self, live: Desk):
        live.come()
        asleep = live.data["versions"][V1]["release"]
        decision = self.wake(live)
        assert [wish.effect for wish in (decision.wishes if decision else ())] == ["serve"]
        assert live.data["versions"][V1]["release"] != asleep
        assert self.wake(live) is None
        assert live.hear(ModelWanted(model_id=MODEL_ID, version=V1, release=asleep)) is None
        live.clock.move(39)
        assert said(live.ready(V1)) == []
        assert (live.data["live"], live.state(V1)) == (V1, "live")
        assert live.data["versions"][V1]["took"] == pytest.approx(42, abs=2)

    def test_awake_again_it_may_sleep_again(self, live: Desk):
        first = live.due[-1]
        live.come()
        self.wake(live)
        live.ready(V1)
        assert live.hear(first) is None
        live.come()
        assert live.state(V1) == "asleep"

    def test_the_end_of_its_engine_is_no_failure(self, live: Desk):
        live.come()
        release = live.data["versions"][V1]["release"]
        for phase in ("succeeded", "failed"):
            assert live.hear(changed(phase, release, "deployment", KEY, reason="Stopped")) is None

    def test_if_it_does_not_come_back_that_is_told(self, live: Desk):
        live.come()
        self.wake(live)
        release = live.data["versions"][V1]["release"]
        decision = live.hear(
            changed("failed", release, "deployment", KEY, reason="NotReady", message="600 s")
        )
        assert told(decision, DeploymentFailed).cause == "NotReady: 600 s"
        assert live.data["live"] == ""

    def test_beside_a_canary_it_does_not_sleep(self, live: Desk):
        moment = live.due[-1]
        live.up(V2, CANARY)
        assert live.hear(moment) is None
        assert live.state(V1) == "live"
        live.operate("abort")
        assert live.due[-1].what == "idle"
        live.come()
        assert live.state(V1) == "asleep"

    def test_what_sleeps_is_replaced_without_a_stop(self, live: Desk):
        live.come()
        decision = live.up(V2)
        assert "stop" not in [wish.effect for wish in (decision.wishes if decision else ())]
        assert (live.state(V1), live.data["live"]) == ("retired", V2)

    def test_withdrawn_asleep_it_answers_no_more(self, live: Desk):
        live.come()
        live.hear(ModelDeprecated(model_id=MODEL_ID, version=V1, by="ben", reason="wrong"))
        assert (live.data["live"], live.state(V1)) == ("", "retired")
        assert self.wake(live) is None


class TestRollbackBesideACanary:
    def test_to_another_version_it_ends_and_waits(self, canary: Desk):
        canary.operate("promote")
        canary.up(V3, CANARY)
        decision = canary.hear(RollbackRequested(model_id=MODEL_ID, version=V1, by="ben"))
        assert moves(decision) == ["aborted"]
        assert (canary.data["live"], canary.state(V3)) == (V1, "retired")

    def test_where_nobody_gets_there_it_does_not_begin_again_by_itself(self, canary: Desk):
        def dies() -> Decision | None:
            server = canary.data["versions"][V1]["release"]
            return canary.hear(
                changed("failed", server, "deployment", KEY, reason="NotReady", message="no GPU")
            )

        canary.operate("promote")
        dies()
        canary.up(V3, CANARY)
        canary.hear(RollbackRequested(model_id=MODEL_ID, version=V1, by="ben"))
        assert (canary.state(V1), canary.state(V3), canary.weights) == ("starting", "retired", {})
        assert moves(dies()) == []
        assert (canary.data["live"], canary.state(V1), canary.weights) == (V2, "failed", {})

    def test_to_the_canary_itself_it_is_promoted(self, canary: Desk):
        decision = canary.hear(
            RollbackRequested(model_id=MODEL_ID, version=V2, by="ben", reason="it is good")
        )
        assert (moves(decision), canary.data["live"]) == (["finished"], V2)

    def test_a_moment_for_what_is_unknown_is_nothing(self, canary: Desk):
        assert canary.hear(ReleaseDue(model_id=MODEL_ID, version="9.9.9", what="keep", mark="1")) is None

    def test_withdrawn_by_an_operator_it_ends(self, canary: Desk):
        gone = ModelDeprecated(model_id=MODEL_ID, version=V2, by="ben", reason="wrong data")
        assert moves(canary.hear(gone)) == ["aborted"]
        assert (canary.state(V2), canary.weights, canary.data["live"]) == ("retired", {}, V1)

    def test_without_its_engine_in_common_it_begins_anew_with_one_of_its_own(self, desk: Desk):
        desk.up(V2, {**CANARY, "engine": "vllm"})
        assert desk.data["versions"][V2]["shared"]
        name = desk.data["versions"][V2]["release"]
        decision = desk.hear(changed("failed", name, "deployment", KEY, reason="Gone", message="it ended"))
        assert moves(decision) == ["superseded"]
        assert (desk.state(V2), desk.weights) == ("starting", {})
        assert moves(desk.ready(V2)) == ["began"]
