"""Which version is to answer: events in every order that they can come, at one model's releases."""

from __future__ import annotations

from typing import Any

import pytest

from events.deployment_failed import DeploymentFailed
from events.model_deployed import ModelDeployed
from events.model_deprecated import ModelDeprecated
from events.rollback_requested import RollbackRequested
from services.deployment import SERVICE
from services.deployment.versions import DRAIN_SECONDS
from shared.errors import Reject, Retry
from shared.service import Decision
from tests.services.words import (
    MODEL_ID,
    Hearing,
    approved,
    card,
    changed,
    registered,
    rejected,
    said,
    validated,
    wished,
)

KEY = f"releases/{MODEL_ID}"
V1, V2, V3 = "1.0.0", "1.1.0", "1.2.0"
HIGH = {"risk_class": "HIGH_RISK"}


class Desk(Hearing):
    """The releases of one model, and engines that do as they are told."""

    def __init__(self) -> None:
        super().__init__(SERVICE, KEY)
        self.port = 41000

    def state(self, version: str) -> str:
        return str(self.data["versions"][version]["state"])

    def engine(self, version: str, phase: str, release: str = "", **facts: Any) -> Decision | None:
        name = release or self.data["versions"][version]["release"]
        return self.hear(changed(phase, name, "deployment", KEY, **facts))

    def ready(self, version: str) -> Decision | None:
        self.port += 1
        return self.engine(version, "ready", address=f"127.0.0.1:{self.port}")

    def gates(self, version: str) -> Decision | None:
        self.hear(validated(version))
        return self.hear(card(version))

    def live(self, version: str) -> Decision | None:
        """A version, all the way."""
        self.hear(registered(version))
        self.gates(version)
        return self.ready(version)

    def rollback(self, version: str = "", reason: str = "") -> Decision | None:
        return self.hear(RollbackRequested(model_id=MODEL_ID, version=version, by="ben", reason=reason))

    def deprecate(self, version: str, by: str = "ben") -> Decision | None:
        return self.hear(ModelDeprecated(model_id=MODEL_ID, version=version, by=by, reason="it was wrong"))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def effects(decision: Decision | None) -> list[str]:
    return [effect for effect, _ in wished(decision)]


def names(decision: Decision | None) -> list[str]:
    return [f"{type(word).__name__} {word.version}" for word in said(decision)]


class TestFirst:
    def test_registered_its_engine_starts_at_once(self, desk: Desk):
        ((effect, arguments),) = wished(desk.hear(registered(V1)))
        assert (effect, arguments["version"], desk.state(V1)) == ("serve", V1, "starting")
        assert arguments["release"] == desk.data["versions"][V1]["release"]
        version = desk.data["versions"][V1]
        assert (version["engine"], version["template"], version["tenant"]) == (
            "llamafactory",
            "chatml",
            "team-x",
        )
        assert desk.status == "ACTIVE"

    def test_it_goes_live_once_it_answers_and_all_gates_are_open(self, desk: Desk):
        (word,) = said(desk.live(V1))
        assert isinstance(word, ModelDeployed)
        assert (word.version, word.replaced, word.release) == (V1, "", desk.data["versions"][V1]["release"])
        assert (word.manifest_digest, word.card_digest) == ("sha256:weights-1.0.0", "sha256:card-1.0.0")
        assert (desk.data["live"], desk.state(V1)) == (V1, "live")
        assert desk.data["versions"][V1]["address"] == "127.0.0.1:41001"

    @pytest.mark.parametrize(
        "order",
        [("validated", "card", "ready"), ("ready", "validated", "card"), ("card", "ready", "validated")],
    )
    def test_in_whatever_order(self, desk: Desk, order: tuple[str, ...]):
        desk.hear(registered(V1))
        steps = {
            "validated": lambda: desk.hear(validated(V1)),
            "card": lambda: desk.hear(card(V1)),
            "ready": lambda: desk.ready(V1),
        }
        for step in order[:-1]:
            assert said(steps[step]()) == []
        assert names(steps[order[-1]]()) == ["ModelDeployed 1.0.0"]

    def test_a_failed_validation_stops_its_engine(self, desk: Desk):
        desk.hear(registered(V1))
        desk.ready(V1)
        decision = desk.hear(validated(V1, passed=False))
        assert (effects(decision), desk.state(V1), desk.data["live"]) == (["stop"], "refused", "")

    def test_before_anything_is_registered_events_wait(self, desk: Desk):
        for word in (validated(V1), card(V1), approved(V1)):
            with pytest.raises(Retry, match=f"{KEY}: no version has been registered yet"):
                desk.hear(word)

    def test_before_this_version_is_registered_events_wait(self, desk: Desk):
        desk.hear(registered(V1))
        for word in (validated(V2), card(V2), approved(V2), rejected(V2)):
            with pytest.raises(Retry, match=r"version 1\.1\.0 has not been registered yet"):
                desk.hear(word)

    def test_registered_twice_is_once(self, desk: Desk):
        desk.hear(registered(V1))
        assert desk.hear(registered(V1)) is None

    def test_the_first_card_holds(self, desk: Desk):
        desk.hear(registered(V1))
        desk.hear(card(V1))
        assert desk.hear(card(V1, content="another")) is None
        assert desk.data["versions"][V1]["card_digest"] == "sha256:card-1.0.0"

    def test_a_validation_of_other_weights_opens_no_gate(self, desk: Desk):
        desk.hear(registered(V1))
        desk.hear(validated(V1, weights="others"))
        desk.hear(card(V1))
        assert said(desk.ready(V1)) == []


class TestSecond:
    def test_it_takes_over_without_a_gap_and_the_old_one_is_drained(self, desk: Desk):
        desk.live(V1)
        desk.hear(registered(V2))
        desk.gates(V2)
        assert desk.data["live"] == V1
        decision = desk.ready(V2)
        assert names(decision) == ["ModelDeployed 1.1.0", "ModelDeprecated 1.0.0"]
        deployed, deprecated = said(decision)
        assert deployed.replaced == V1
        assert (deprecated.by, deprecated.successor, deprecated.reason) == (
            "deployment",
            V2,
            "replaced by 1.1.0",
        )
        assert decision is not None
        (stop,) = decision.wishes
        assert (stop.effect, stop.arguments, stop.delay) == (
            "stop", {"release": desk.data["versions"][V1]["release"]}, DRAIN_SECONDS,
        )  # fmt: skip
        assert (desk.data["live"], desk.data["previous"], desk.state(V1)) == (V2, V1, "retired")

    def test_if_it_fails_its_validation_the_first_goes_on(self, desk: Desk):
        desk.live(V1)
        desk.hear(registered(V2))
        desk.ready(V2)
        assert effects(desk.hear(validated(V2, passed=False))) == ["stop"]
        assert (desk.data["live"], desk.state(V1)) == (V1, "live")

    def test_if_its_engine_will_not_the_first_goes_on(self, desk: Desk):
        desk.live(V1)
        desk.hear(registered(V2))
        desk.gates(V2)
        (word,) = said(desk.engine(V2, "failed", reason="NotReady", message="no answer in 600 s"))
        assert isinstance(word, DeploymentFailed)
        assert word.cause == "NotReady: no answer in 600 s"
        assert (desk.data["live"], desk.state(V2)) == (V1, "failed")

    def test_two_in_quick_succession_both_go_live_in_order(self, desk: Desk):
        desk.hear(registered(V1))
        desk.hear(registered(V2))
        desk.gates(V1)
        assert names(desk.ready(V1)) == ["ModelDeployed 1.0.0"]
        desk.gates(V2)
        assert names(desk.ready(V2)) == ["ModelDeployed 1.1.0", "ModelDeprecated 1.0.0"]

    def test_if_the_second_is_faster_the_first_is_not_needed_any_more(self, desk: Desk):
        desk.hear(registered(V1))
        desk.hear(registered(V2))
        desk.ready(V1)
        desk.gates(V2)
        decision = desk.ready(V2)
        assert names(decision) == ["ModelDeployed 1.1.0", "ModelDeprecated 1.0.0"]
        assert effects(decision) == ["stop"]
        desk.gates(V1)
        assert (desk.data["live"], desk.state(V1)) == (V2, "retired")

    def test_if_the_second_is_refused_the_first_goes_live(self, desk: Desk):
        desk.hear(registered(V1))
        desk.hear(registered(V2))
        desk.hear(validated(V2, passed=False))
        desk.gates(V1)
        assert names(desk.ready(V1)) == ["ModelDeployed 1.0.0"]

    def test_the_newest_of_several_that_are_able_goes_live(self, desk: Desk):
        for version in (V1, V2, V3):
            desk.hear(registered(version))
            desk.ready(version)
        desk.hear(card(V1))
        desk.hear(card(V2))
        desk.hear(card(V3))
        assert names(desk.hear(validated(V2))) == ["ModelDeployed 1.1.0", "ModelDeprecated 1.0.0"]
        assert said(desk.hear(validated(V1))) == []
        assert names(desk.hear(validated(V3))) == ["ModelDeployed 1.2.0", "ModelDeprecated 1.1.0"]


class TestEngine:
    def test_restarted_it_answers_at_another_address(self, desk: Desk):
        desk.live(V1)
        assert said(desk.engine(V1, "ready", address="127.0.0.1:50000", attempt=2)) == []
        assert (desk.data["live"], desk.state(V1)) == (V1, "live")
        assert desk.data["versions"][V1]["address"] == "127.0.0.1:50000"

    def test_what_an_earlier_start_said_is_heard_too_late(self, desk: Desk):
        desk.live(V1)
        desk.engine(V1, "ready", address="127.0.0.1:50000", attempt=3)
        assert desk.engine(V1, "ready", address="127.0.0.1:49000", attempt=2) is None
        assert desk.data["versions"][V1]["address"] == "127.0.0.1:50000"

    def test_dead_for_good_nothing_is_live(self, desk: Desk):
        desk.live(V1)
        assert names(desk.engine(V1, "failed", reason="OutOfMemory", message="again")) == [
            "DeploymentFailed 1.0.0",
            "ModelDeprecated 1.0.0",
        ]
        assert (desk.data["live"], desk.state(V1), desk.data["versions"][V1]["address"]) == ("", "failed", "")

    def test_after_that_a_new_version_goes_live(self, desk: Desk):
        desk.live(V1)
        desk.engine(V1, "failed", reason="OutOfMemory", message="again")
        (word,) = said(desk.live(V2))
        assert (word.version, word.replaced) == (V2, "")

    @pytest.mark.parametrize("phase", ["running", "succeeded"])
    def test_of_other_phases_nothing_follows(self, desk: Desk, phase: str):
        desk.live(V1)
        assert desk.engine(V1, phase) is None

    def test_ready_again_elsewhere_before_it_went_live_it_is_found_there(self, desk: Desk):
        desk.hear(registered(V1))
        desk.ready(V1)
        desk.ready(V1)
        assert (desk.state(V1), desk.data["versions"][V1]["address"]) == ("ready", "127.0.0.1:41002")
        assert names(desk.gates(V1)) == ["ModelDeployed 1.0.0"]

    def test_of_a_release_that_is_no_more_nothing_follows(self, desk: Desk):
        desk.live(V1)
        assert desk.engine(V1, "failed", release="serve-somebody-else") is None

    def test_the_end_of_a_retired_engine_is_no_failure(self, desk: Desk):
        desk.live(V1)
        desk.live(V2)
        assert desk.engine(V1, "failed", reason="Killed", message="stopped") is None
        assert desk.engine(V1, "succeeded") is None

    def test_of_the_cluster_s_changes_only_our_own_servers_are_heard(self, desk: Desk):
        assert SERVICE.key(desk.event(changed("ready", "train-1", "training", "runs/r-1"))) is None


class TestApproval:
    def test_without_one_no_engine_is_even_started(self, desk: Desk):
        assert effects(desk.hear(registered(V1, **HIGH))) == []
        assert effects(desk.gates(V1)) == []
        assert desk.state(V1) == "candidate"

    def test_with_it_the_engine_starts_and_goes_live(self, desk: Desk):
        desk.hear(registered(V1, **HIGH))
        desk.gates(V1)
        assert effects(desk.hear(approved(V1))) == ["serve"]
        assert names(desk.ready(V1)) == ["ModelDeployed 1.0.0"]

    @pytest.mark.parametrize("other", [{"weights": "others"}, {"content": "another"}])
    def test_of_other_weights_or_another_card_it_counts_for_nothing(self, desk: Desk, other: dict[str, str]):
        desk.hear(registered(V1, **HIGH))
        desk.gates(V1)
        assert effects(desk.hear(approved(V1, **other))) == []
        assert desk.state(V1) == "candidate"
        assert effects(desk.hear(approved(V1))) == ["serve"]

    def test_asked_for_by_model_yaml_it_is_needed_too(self, desk: Desk):
        assert effects(desk.hear(registered(V1, deployment={"approval": "required", "engine": "vllm"}))) == []
        assert desk.data["versions"][V1]["engine"] == "vllm"

    def test_a_second_one_starts_nothing_twice(self, desk: Desk):
        desk.hear(registered(V1, **HIGH))
        desk.gates(V1)
        desk.hear(approved(V1, who="Ann"))
        assert effects(desk.hear(approved(V1, who="Ben"))) == []
        assert [word["who"] for word in desk.data["versions"][V1]["approvals"]] == ["Ann", "Ben"]

    def test_rejected_it_does_not_answer(self, desk: Desk):
        desk.hear(registered(V1))
        desk.ready(V1)
        assert effects(desk.hear(rejected(V1))) == ["stop"]
        assert said(desk.gates(V1)) == []
        assert desk.state(V1) == "refused"

    def test_approved_after_it_was_rejected_it_stays_rejected(self, desk: Desk):
        desk.hear(registered(V1, **HIGH))
        desk.gates(V1)
        assert effects(desk.hear(rejected(V1))) == []
        assert effects(desk.hear(approved(V1))) == []
        assert desk.state(V1) == "refused"

    def test_what_is_live_is_withdrawn_by_deprecating_it(self, desk: Desk):
        desk.live(V1)
        assert desk.hear(rejected(V1)) is None
        desk.live(V2)
        assert desk.hear(rejected(V1)) is None


class TestRollback:
    @pytest.fixture
    def second(self, desk: Desk) -> Desk:
        desk.live(V1)
        desk.live(V2)
        return desk

    def test_the_one_before_starts_anew_and_takes_over(self, second: Desk):
        old = second.data["versions"][V1]["release"]
        decision = second.rollback(reason="1.1.0 is slow")
        assert (effects(decision), second.data["live"]) == (["serve"], V2)
        assert second.data["versions"][V1]["release"] != old
        decision = second.ready(V1)
        assert names(decision) == ["ModelDeployed 1.0.0", "ModelDeprecated 1.1.0"]
        assert [word.reason for word in said(decision)] == ["1.1.0 is slow", "1.1.0 is slow"]
        assert (second.data["live"], second.data["previous"], second.data["wanted"]) == (V1, V2, "")

    def test_and_forth_again(self, second: Desk):
        second.rollback()
        second.ready(V1)
        second.rollback()
        assert names(second.ready(V2)) == ["ModelDeployed 1.1.0", "ModelDeprecated 1.0.0"]

    def test_without_a_reason_it_tells_by_whom(self, second: Desk):
        second.rollback()
        assert {word.reason for word in said(second.ready(V1))} == {"rollback by ben"}

    def test_a_later_switch_has_its_own_reason(self, second: Desk):
        second.rollback(reason="1.1.0 is slow")
        second.ready(V1)
        (deployed, deprecated) = said(second.live(V3))
        assert (deployed.reason, deprecated.reason) == ("", "replaced by 1.2.0")

    def test_the_end_of_the_old_engine_of_the_version_means_nothing_then(self, second: Desk):
        old = second.data["versions"][V1]["release"]
        second.rollback()
        assert second.engine(V1, "succeeded", release=old) is None
        assert second.engine(V1, "failed", release=old, reason="Killed") is None
        assert second.state(V1) == "starting"

    def test_a_version_that_is_ready_goes_live_at_once(self, second: Desk):
        second.rollback(V1)
        second.ready(V1)
        second.rollback(V2)
        second.hear(registered(V3))
        second.ready(V2)
        assert second.data["live"] == V2

    def test_what_is_on_its_way_then_waits_and_is_not_needed_once_it_went_live(self, second: Desk):
        second.hear(registered(V3))
        second.gates(V3)
        second.rollback(V1)
        assert said(second.ready(V3)) == []
        decision = second.ready(V1)
        assert names(decision) == ["ModelDeployed 1.0.0", "ModelDeprecated 1.1.0", "ModelDeprecated 1.2.0"]
        assert effects(decision) == ["stop", "stop"]
        assert second.state(V3) == "retired"

    def test_if_its_engine_will_not_the_newer_ones_go_on(self, second: Desk):
        second.hear(registered(V3))
        second.gates(V3)
        second.rollback(V1)
        second.ready(V3)
        assert names(second.engine(V1, "failed", reason="NotReady", message="no answer")) == [
            "DeploymentFailed 1.0.0", "ModelDeployed 1.2.0", "ModelDeprecated 1.1.0",
        ]  # fmt: skip

    def test_what_is_registered_after_it_goes_live_after_it(self, second: Desk):
        second.rollback(V1)
        second.hear(registered(V3))
        second.gates(V3)
        assert said(second.ready(V3)) == []
        assert names(second.ready(V1)) == [
            "ModelDeployed 1.0.0", "ModelDeprecated 1.1.0", "ModelDeployed 1.2.0", "ModelDeprecated 1.0.0",
        ]  # fmt: skip
        assert (second.data["live"], second.data["previous"]) == (V3, V1)

    def test_asked_for_twice_one_engine_is_started(self, second: Desk):
        assert effects(second.rollback(V1)) == ["serve"]
        assert effects(second.rollback(V1)) == []
        assert names(second.ready(V1))[0] == "ModelDeployed 1.0.0"

    def test_to_what_answers_already_nothing_follows(self, second: Desk):
        assert second.rollback(V2) is None

    def test_there_must_be_one_before(self, desk: Desk):
        desk.live(V1)
        with pytest.raises(Reject, match="there is no version before the live one to roll back to"):
            desk.rollback()
        with pytest.raises(Reject, match=r"there is no version 9\.9\.9 to roll back to"):
            desk.rollback("9.9.9")

    def test_only_to_what_may_answer(self, second: Desk):
        second.hear(registered(V3))
        with pytest.raises(Reject, match=r"version 1\.2\.0 may not answer: it has no passed validation"):
            second.rollback(V3)
        second.hear(validated(V3, passed=False))
        with pytest.raises(Reject, match="may not answer"):
            second.rollback(V3)

    def test_not_to_what_a_person_rejected(self, second: Desk):
        second.hear(registered(V3))
        second.gates(V3)
        second.hear(rejected(V3))
        with pytest.raises(Reject, match="may not answer"):
            second.rollback(V3)

    def test_to_one_whose_engine_failed_before_it_is_tried_again(self, second: Desk):
        second.hear(registered(V3))
        second.gates(V3)
        second.engine(V3, "failed", reason="NotReady", message="no answer")
        assert effects(second.rollback(V3)) == ["serve"]
        assert names(second.ready(V3))[0] == "ModelDeployed 1.2.0"


class TestDeprecated:
    def test_what_is_live_answers_no_more_at_once(self, desk: Desk):
        desk.live(V1)
        decision = desk.deprecate(V1)
        assert (desk.data["live"], desk.state(V1)) == ("", "retired")
        assert decision is not None
        assert [(wish.effect, wish.delay) for wish in decision.wishes] == [("stop", 0)]

    def test_what_is_on_its_way_does_not_arrive(self, desk: Desk):
        desk.hear(registered(V1))
        desk.deprecate(V1)
        assert said(desk.gates(V1)) == []
        assert desk.ready(V1) is None

    def test_what_an_operator_wanted_is_wanted_no_more(self, desk: Desk):
        desk.live(V1)
        desk.live(V2)
        desk.rollback(V1)
        desk.deprecate(V1)
        assert (desk.data["wanted"], desk.data["live"]) == ("", V2)

    def test_our_own_word_is_not_heard_again(self, desk: Desk):
        desk.live(V1)
        assert desk.deprecate(V1, by="deployment") is None

    def test_of_an_unknown_version_nothing_follows(self, desk: Desk):
        desk.live(V1)
        assert desk.deprecate("9.9.9") is None

    def test_a_refused_one_stays_refused(self, desk: Desk):
        desk.live(V1)
        desk.hear(registered(V2))
        desk.gates(V2)
        desk.hear(rejected(V2))
        desk.deprecate(V2)
        with pytest.raises(Reject, match="may not answer"):
            desk.rollback(V2)

    def test_it_can_be_brought_back_by_a_rollback(self, desk: Desk):
        desk.live(V1)
        desk.deprecate(V1)
        assert effects(desk.rollback(V1)) == ["serve"]
        assert names(desk.ready(V1)) == ["ModelDeployed 1.0.0"]
