"""The registry's record of a version."""

from __future__ import annotations

import msgspec
import pytest

from events.checkpoint_written import CheckpointWritten
from events.deployment_failed import DeploymentFailed
from events.model_deployed import ModelDeployed
from events.model_deprecated import ModelDeprecated
from events.model_registered import ModelRegistered
from services.registration import SERVICE
from shared.errors import Reject, Retry
from tests.services.words import (
    MODEL_ID,
    RUN,
    SOURCE,
    Hearing,
    approved,
    artifact,
    card,
    digest,
    final,
    model,
    rejected,
    said,
    validated,
)

KEY = f"models/{MODEL_ID}@1.0.0"


@pytest.fixture
def version() -> Hearing:
    return Hearing(SERVICE, KEY)


@pytest.fixture
def trained(version: Hearing) -> Hearing:
    version.hear(final())
    return version


@pytest.fixture
def carded(trained: Hearing) -> Hearing:
    trained.hear(validated())
    trained.hear(card())
    return trained


def deployed(release: str = "serve-1") -> ModelDeployed:
    return ModelDeployed(
        model_id=MODEL_ID,
        version="1.0.0",
        release=release,
        manifest_digest=digest("weights-1.0.0"),
        card_digest=digest("card-1.0.0"),
    )


def deprecated(by: str = "ben") -> ModelDeprecated:
    return ModelDeprecated(
        model_id=MODEL_ID, version="1.0.0", by=by, reason="it was wrong", successor="1.1.0"
    )


class TestTrained:
    def test_all_fields_of_the_brief_are_there(self, version: Hearing):
        decision = version.hear(final(ai_act_notes="RA-2026-014"))
        assert version.status == "TRAINED"
        data = version.data
        assert {
            "model_id": MODEL_ID,
            "version": "1.0.0",
            "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
            "tenant": "team-x",
            "risk_class": "LIMITED_RISK",
            "artifact_path": artifact().uri,
            "config_path": f"experiments/experiments/llm-qa/config.yaml@{SOURCE.commit}",
            "data_id": "orlik-support-24",
            "metrics": {"train_loss": 0.43, "train_runtime": 67.2},
            "owner": "Support Engineering",
            "ai_act_notes": "RA-2026-014",
        }.items() <= data.items()
        assert (data["run_id"], data["commit"], data["tree"]) == (RUN, SOURCE.commit, SOURCE.tree)
        assert (data["manifest_digest"], data["approval_needed"], data["approvals"]) == (
            digest("weights-1.0.0"), False, [],
        )  # fmt: skip
        (word,) = said(decision)
        assert isinstance(word, ModelRegistered)
        assert (word.model, word.artifact, word.metrics) == (model(), artifact(), final().metrics)
        assert word.registered_at == version.clock.now()

    def test_the_same_weights_again_are_the_same_registration(self, trained: Hearing):
        assert trained.hear(final()) is None

    def test_other_weights_need_another_version(self, trained: Hearing):
        with pytest.raises(
            Reject, match=f"{KEY} is registered with other weights, by run {RUN}; .* a new version"
        ):
            trained.hear(final(weights="others"))

    @pytest.mark.parametrize("lost", ["model", "origin"])
    def test_a_final_checkpoint_must_say_whose_it_is(self, version: Hearing, lost: str):
        checkpoint = msgspec.structs.replace(final(), **{lost: None})
        decide = SERVICE.decide
        with pytest.raises(
            Reject, match=f"the final checkpoint of {RUN} says neither its model nor its origin"
        ):
            decide(version.record, version.event(checkpoint), version.clock.now())

    def test_checkpoints_on_the_way_are_none_of_its_business(self, version: Hearing):
        checkpoint = CheckpointWritten(run_id=RUN, step=16, final=False, artifact=artifact())
        assert SERVICE.key(version.event(checkpoint)) is None

    def test_an_event_that_names_no_version_is_refused(self, version: Hearing):
        with pytest.raises(Reject, match="checkpoint-written e-1 names no model version"):
            SERVICE.key(version.event(msgspec.structs.replace(final(), model=None)))

    @pytest.mark.parametrize(
        ("risk_class", "approval", "needed"),
        [("HIGH_RISK", "auto", True), ("LIMITED_RISK", "required", True), ("GENERAL_PURPOSE", "auto", False)],
    )
    def test_whether_a_person_must_approve(
        self, version: Hearing, risk_class: str, approval: str, needed: bool
    ):
        version.hear(final(risk_class=risk_class, deployment={"approval": approval}))
        assert version.data["approval_needed"] is needed

    def test_whatever_comes_before_it_waits(self, version: Hearing):
        for word in (validated(), card(), approved(), rejected(), deployed(), deprecated()):
            with pytest.raises(Retry, match=f"{KEY} is not registered yet"):
                version.hear(word)


class TestValidated:
    def test_passed(self, trained: Hearing):
        trained.hear(validated())
        assert trained.status == "VALIDATED"
        assert trained.data["metrics"] == {"train_loss": 0.43, "train_runtime": 67.2, "contains": 0.93}
        validation = trained.data["validation"]
        assert (validation["passed"], validation["baseline"]) == (True, {"contains": 0.0})
        assert validation["report"].endswith("report.md")
        assert [gate["metric"] for gate in validation["gates"]] == ["contains"]

    def test_failed_it_stays_trained_and_tells_why(self, trained: Hearing):
        trained.hear(validated(passed=False))
        assert trained.status == "TRAINED"
        assert trained.data["validation"]["passed"] is False

    def test_of_other_weights_it_says_nothing(self, trained: Hearing):
        with pytest.raises(Reject, match="the validation is of other weights than the registered ones"):
            trained.hear(validated(weights="others"))

    def test_once_deployed_or_deprecated_the_status_stays(self, carded: Hearing):
        carded.hear(deployed())
        carded.hear(validated())
        assert carded.status == "DEPLOYED"
        carded.hear(deprecated("deployment"))
        carded.hear(validated())
        assert carded.status == "DEPRECATED"

    def test_withdrawn_before_its_verdict_it_keeps_the_verdict_for_a_rollback(self, trained: Hearing):
        trained.hear(deprecated())
        trained.hear(validated())
        trained.hear(card())
        assert (trained.status, trained.data["validation"]["passed"]) == ("DEPRECATED", True)
        trained.hear(deployed())
        assert trained.status == "DEPLOYED"


class TestCard:
    def test_where_it_lies_and_what_is_missing(self, trained: Hearing):
        trained.hear(card())
        data = trained.data
        assert data["card_path"] == f"cards/{MODEL_ID}/1.0.0/card.md"
        assert data["card_document"] == f"cards/{MODEL_ID}/1.0.0/card.json"
        assert (data["card_digest"], data["card_completeness"]) == (digest("card-1.0.0"), 0.9)
        assert data["card_missing"] == ["oversight.overseers"]
        assert trained.status == "TRAINED"

    def test_the_first_one_holds(self, carded: Hearing):
        assert carded.hear(card(content="another")) is None
        assert carded.data["card_digest"] == digest("card-1.0.0")


class TestWords:
    def test_an_approval_is_kept_with_who_and_when(self, carded: Hearing):
        carded.hear(approved(who="Ann"))
        carded.hear(approved(who="Ben"))
        assert [approval["who"] for approval in carded.data["approvals"]] == ["Ann", "Ben"]
        assert carded.data["approvals"][0]["at"] < carded.data["approvals"][1]["at"]
        assert carded.status == "VALIDATED"

    def test_a_rejection_is_kept_too(self, carded: Hearing):
        carded.hear(rejected())
        assert carded.data["rejection"]["who"] == "Ann"

    @pytest.mark.parametrize("word", [approved, rejected])
    @pytest.mark.parametrize("other", [{"weights": "others"}, {"content": "another"}])
    def test_spoken_of_something_else_it_does_not_count(self, carded: Hearing, word, other):  # type: ignore[no-untyped-def]
        with pytest.raises(Reject, match="Ann spoke of other weights or another card than are registered"):
            carded.hear(word(**other))
        assert carded.data["approvals"] == []

    def test_of_a_version_without_a_card_nobody_can_speak(self, trained: Hearing):
        with pytest.raises(Reject):
            trained.hear(approved())


class TestDeployed:
    def test_deployed(self, carded: Hearing):
        carded.hear(deployed("serve-7"))
        assert (carded.status, carded.data["release"]) == ("DEPLOYED", "serve-7")

    def test_before_its_validation_or_card_was_heard_of_it_waits(self, trained: Hearing):
        with pytest.raises(Retry, match="its validation, card or approval has not been heard of yet"):
            trained.hear(deployed())
        trained.hear(validated())
        with pytest.raises(Retry):
            trained.hear(deployed())
        trained.hear(card())
        trained.hear(deployed())
        assert trained.status == "DEPLOYED"

    def test_before_its_validation_even_with_a_card_it_waits(self, trained: Hearing):
        trained.hear(card())
        with pytest.raises(Retry):
            trained.hear(deployed())

    @pytest.mark.parametrize("other", [None, {"weights": "others"}, {"content": "another"}])
    def test_where_it_needs_an_approval_it_waits_for_one_of_exactly_this(self, version: Hearing, other):  # type: ignore[no-untyped-def]
        for word in (final(risk_class="HIGH_RISK"), validated(), card()):
            version.hear(word)
        if other is not None:
            with pytest.raises(Reject):
                version.hear(approved(**other))
        with pytest.raises(Retry, match="card or approval has not been heard of yet"):
            version.hear(deployed())
        version.hear(approved())
        version.hear(deployed())
        assert version.status == "DEPLOYED"

    def test_a_failure_is_kept_with_its_cause(self, carded: Hearing):
        carded.hear(
            DeploymentFailed(
                model_id=MODEL_ID, version="1.0.0", release="serve-1", cause="NotReady: no answer"
            )
        )
        assert carded.status == "VALIDATED"
        assert carded.data["deployment_failure"]["cause"] == "NotReady: no answer"


class TestDeprecated:
    def test_deprecated_with_who_and_why(self, carded: Hearing):
        carded.hear(deprecated())
        assert carded.status == "DEPRECATED"
        found = carded.data["deprecation"]
        assert (found["by"], found["reason"], found["successor"]) == ("ben", "it was wrong", "1.1.0")

    def test_of_a_live_one_deployment_says_it(self, carded: Hearing):
        """A person's word that is redriven late: the version was rolled back to since."""
        carded.hear(deployed())
        assert carded.hear(deprecated("ben")) is None
        carded.hear(deprecated("deployment"))
        assert carded.status == "DEPRECATED"

    def test_from_any_status(self, trained: Hearing):
        trained.hear(deprecated())
        assert trained.status == "DEPRECATED"

    def test_twice_is_once(self, carded: Hearing):
        carded.hear(deprecated("ben"))
        assert carded.hear(deprecated("deployment")) is None
        assert carded.data["deprecation"]["by"] == "ben"

    def test_a_rollback_brings_it_back(self, carded: Hearing):
        for word in (deployed(), deprecated("deployment"), deployed("serve-2")):
            carded.hear(word)
        assert (carded.status, carded.data["release"]) == ("DEPLOYED", "serve-2")
        assert "deprecation" not in carded.data


def test_it_asks_for_no_effect():
    assert SERVICE.effects(None) == {}  # type: ignore[arg-type]

    def test_an_older_word_of_deployment_that_comes_late_changes_nothing(self, carded: Hearing):
        """As a dead letter does that is redriven after the version went live again."""
        words = {
            2: msgspec.structs.replace(deployed(), switch=2),
            3: msgspec.structs.replace(deprecated("deployment"), switch=3),
            4: msgspec.structs.replace(deployed("serve-2"), switch=4),
        }
        carded.hear(words[2])
        carded.hear(words[4])
        assert carded.hear(words[3]) is None
        assert carded.status == "DEPLOYED"
        carded.hear(msgspec.structs.replace(deprecated("deployment"), switch=5))
        assert carded.hear(words[4]) is None
        assert carded.status == "DEPRECATED"

    def test_withdrawn_by_a_person_it_still_counts_deployment_s_words(self, carded: Hearing):
        carded.hear(deprecated("ben"))
        carded.hear(msgspec.structs.replace(deprecated("deployment"), switch=3))
        assert carded.hear(msgspec.structs.replace(deployed(), switch=2)) is None
        assert (carded.status, carded.data["deprecation"]["by"]) == ("DEPRECATED", "ben")
