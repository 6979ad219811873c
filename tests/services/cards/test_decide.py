from __future__ import annotations

import msgspec
import pytest

from events.catalog import encode
from services.cards.decide import decide, key
from services.cards.render import render
from shared.errors import Reject, Retry
from shared.identity import content_digest
from shared.record import Record

KEY = "cards/team-x.orlik.v1@1.0.0"


def collecting(world):
    decision = decide(Record(key=KEY), world.registered_event(), world.registered_event().time)
    return Record(key=KEY, revision=1, status=decision.status, data=decision.data)


def heard(record, event):
    return decide(record, event, event.time)


def test_the_key_is_the_version_of_the_model(world):
    assert key(world.registered_event()) == KEY
    assert key(world.validated_event()) == KEY


@pytest.mark.parametrize("data", [{}, {"model": None}, {"model": {"model_id": "team-x.orlik.v1"}}])
def test_an_event_that_names_no_version_is_rejected(world, data):
    event = msgspec.structs.replace(world.registered_event(), data=data)
    with pytest.raises(Reject, match="names no model version"):
        key(event)


def test_a_registration_begins_to_collect(world):
    record = collecting(world)
    assert record.status == "COLLECTING"
    assert record.data == {"registered": encode(world.registered())}


def test_a_second_registration_changes_nothing(world):
    assert heard(collecting(world), world.registered_event()) is None


def test_a_validation_before_the_registration_waits(world):
    with pytest.raises(Retry, match="registration has not been heard of yet"):
        heard(Record(key=KEY), world.validated_event())


def test_a_passed_validation_renders_the_card_and_asks_that_it_be_written(world):
    decision = heard(collecting(world), world.validated_event())
    rendered = render(world.facts())
    digest = content_digest(rendered.markdown.encode())
    assert decision.status == "RENDERED"
    assert decision.says == ()
    assert decision.data["digest"] == digest
    assert decision.data["markdown"] == "tenants/team-x/cards/team-x.orlik.v1/1.0.0/card.md"
    assert decision.data["document"] == "tenants/team-x/cards/team-x.orlik.v1/1.0.0/card.json"
    assert decision.data["missing"] == [
        "model.yaml: oversight.monitoring",
        "model.yaml: oversight.withdrawal",
    ]
    assert decision.data["completeness"] == rendered.completeness
    assert decision.data["validated"] == encode(world.validated())
    (wish,) = decision.wishes
    assert wish.effect == "write"
    assert wish.arguments["markdown"] == rendered.markdown
    assert wish.arguments["document"] == rendered.document
    assert wish.arguments["card"]["digest"] == digest
    assert wish.arguments["card"]["manifest_digest"] == world.artifact.manifest_digest


def test_a_failed_validation_is_kept_and_no_card_is_made(world):
    decision = heard(collecting(world), world.validated_event(world.validated(passed=False)))
    assert decision.status == "COLLECTING"
    assert decision.wishes == ()
    assert decision.data["validated"]["passed"] is False
    assert "digest" not in decision.data


def test_a_version_that_passes_after_it_failed_gets_its_card(world):
    failed = heard(collecting(world), world.validated_event(world.validated(passed=False)))
    record = Record(key=KEY, revision=2, status=failed.status, data=failed.data)
    assert heard(record, world.validated_event()).status == "RENDERED"


def test_a_card_never_changes_once_it_is_rendered(world):
    done = heard(collecting(world), world.validated_event())
    record = Record(key=KEY, revision=2, status=done.status, data=done.data)
    assert heard(record, world.validated_event(world.validated(rows=99))) is None


def test_a_validation_of_other_weights_is_rejected(world):
    other = msgspec.structs.replace(world.artifact, manifest_digest="sha256:other")
    with pytest.raises(Reject, match="the validation is of other weights"):
        heard(collecting(world), world.validated_event(world.validated(artifact=other)))
