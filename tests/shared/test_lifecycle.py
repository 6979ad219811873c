"""The second pair of eyes: what no service may write, whatever it decided."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from shared.errors import Reject
from shared.lifecycle import NEW, TRANSITIONS, approval_needed, approved, guard
from shared.record import Record

WEIGHTS, CARD = "sha256:weights", "sha256:card"
APPROVAL = {"who": "Ann", "role": "compliance", "manifest_digest": WEIGHTS, "card_digest": CARD}
MODEL: dict[str, Any] = {
    "model_id": "a.b.v1",
    "version": "1.0.0",
    "run_id": "r-1",
    "tenant": "a",
    "manifest_digest": WEIGHTS,
    "artifact_path": "runs/r-1",
    "validation": {"passed": True},
    "card_digest": CARD,
    "approval_needed": False,
    "approvals": [],
}
VERSION: dict[str, Any] = {
    "state": "live",
    "address": "127.0.0.1:41000",
    "manifest_digest": WEIGHTS,
    "validated_digest": WEIGHTS,
    "card_digest": CARD,
    "approval_needed": False,
    "approvals": [],
}
ALL = sorted({(kind, status) for kind, pairs in TRANSITIONS.items() for pair in pairs for status in pair})


def model(status: str, revision: int = 1, **changes: Any) -> Record:
    return Record(
        key="models/a.b.v1@1.0.0", revision=revision, status=status, data={**deepcopy(MODEL), **changes}
    )


def release(live: str = "1.0.0", **changes: Any) -> Record:
    data = {"live": live, "versions": {"1.0.0": {**VERSION, **changes}}}
    return Record(key="releases/a.b.v1", revision=1, status="ACTIVE", data=data)


@pytest.mark.parametrize("kind", TRANSITIONS)
def test_only_what_the_table_has_is_legal(kind: str):
    statuses = {status for pair in TRANSITIONS[kind] for status in pair}
    for old in statuses:
        for new in statuses - {NEW}:
            before = Record(
                key=f"{kind}/x", revision=1 if old else 0, status=old, data=MODEL if kind == "models" else {}
            )
            after = Record(key=f"{kind}/x", status=new, data=before.data)
            if old == new or (old, new) in TRANSITIONS[kind]:
                guard(before, after)
            else:
                with pytest.raises(Reject, match=f"{old or 'nothing'} -> {new} is no legal transition"):
                    guard(before, after)


def test_the_brief_s_four_statuses_are_those_of_a_model():
    assert {new for _, new in TRANSITIONS["models"]} == {"TRAINED", "VALIDATED", "DEPLOYED", "DEPRECATED"}


def test_every_status_can_be_reached():
    for kind, pairs in TRANSITIONS.items():
        reached, before = {NEW}, set()
        while reached != before:
            before = set(reached)
            reached |= {new for old, new in pairs if old in reached}
        assert {status for pair in pairs for status in pair} == reached, kind


def test_an_unknown_kind_is_refused():
    with pytest.raises(Reject, match="dreams/x: there is no kind of record called 'dreams'"):
        guard(Record(key="dreams/x"), Record(key="dreams/x", status="DREAMT"))


@pytest.mark.parametrize(
    "field", ["model_id", "version", "run_id", "tenant", "manifest_digest", "artifact_path"]
)
def test_what_a_version_is_never_changes(field: str):
    with pytest.raises(Reject, match=f"{field} never changes once it is registered"):
        guard(model("TRAINED"), model("TRAINED", **{field: "another"}))
    guard(Record(key="models/a.b.v1@1.0.0"), model("TRAINED", revision=0, **{field: "another"}))


def test_who_approved_what_is_never_rewritten():
    old = model("VALIDATED", approvals=[APPROVAL])
    guard(old, model("VALIDATED", approvals=[APPROVAL, {**APPROVAL, "who": "Ben"}]))
    for approvals in ([], [{**APPROVAL, "who": "Ben"}], [{**APPROVAL, "who": "Ben"}, APPROVAL]):
        with pytest.raises(Reject, match="who approved what is never rewritten"):
            guard(old, model("VALIDATED", approvals=approvals))


@pytest.mark.parametrize("digest", ["sha256:other", "", None])
def test_a_card_never_changes(digest: str | None):
    with pytest.raises(Reject, match="the card never changes"):
        guard(model("VALIDATED"), model("VALIDATED", card_digest=digest))
    guard(model("TRAINED", card_digest=""), model("TRAINED"))


GATES = [
    (
        {"validation": {"passed": False}},
        {"validated_digest": ""},
        "a passed validation of exactly these weights",
    ),
    (
        {"validation": {}},
        {"validated_digest": "sha256:older"},
        "a passed validation of exactly these weights",
    ),
    ({"manifest_digest": ""}, {"manifest_digest": ""}, "a passed validation of exactly these weights"),
    ({"card_digest": ""}, {"card_digest": ""}, "needs a card"),
    (
        {"approval_needed": True},
        {"approval_needed": True},
        "an approval of exactly these weights and this card",
    ),
    *(
        (
            {"approval_needed": True, "approvals": [{**APPROVAL, field: "sha256:other"}]},
            {"approval_needed": True, "approvals": [{**APPROVAL, field: "sha256:other"}]},
            "an approval of exactly these weights and this card",
        )
        for field in ("manifest_digest", "card_digest")
    ),
]


@pytest.mark.parametrize(("of_model", "of_version", "told"), GATES)
def test_nothing_is_released_through_a_closed_gate(
    of_model: dict[str, Any], of_version: dict[str, Any], told: str
):
    with pytest.raises(Reject, match=told):
        guard(model("VALIDATED", **of_model), model("DEPLOYED", **of_model))
    with pytest.raises(Reject, match=told):
        guard(model("DEPRECATED", **of_model), model("DEPLOYED", **of_model))
    with pytest.raises(Reject, match=told):
        guard(release(live=""), release(**of_version))


@pytest.mark.parametrize("needed", [False, True])
def test_through_open_gates_it_is_released(needed: bool):
    facts = {"approval_needed": needed, "approvals": [APPROVAL] if needed else []}
    guard(model("VALIDATED", **facts), model("DEPLOYED", **facts))
    guard(release(live=""), release(**facts))


def test_one_approval_of_several_is_enough():
    others = [{**APPROVAL, "card_digest": "sha256:older"}, APPROVAL]
    assert approved({"manifest_digest": WEIGHTS, "card_digest": CARD, "approvals": others})
    assert not approved({"manifest_digest": WEIGHTS, "card_digest": CARD, "approvals": others[:1]})
    assert not approved({"manifest_digest": WEIGHTS, "card_digest": CARD})


def test_what_is_deployed_already_passes_no_gate_again():
    facts = {"validation": {}, "card_digest": ""}
    guard(model("DEPLOYED", **facts), model("DEPLOYED", **facts))
    guard(release(card_digest=""), release(card_digest=""))


@pytest.mark.parametrize(
    "changes", [{"state": "ready"}, {"state": "starting"}, {"address": ""}, {"state": "stopped"}]
)
def test_only_what_answers_goes_live(changes: dict[str, str]):
    with pytest.raises(Reject, match=r"version 1\.0\.0 does not answer yet"):
        guard(release(live=""), release(**changes))


def test_only_a_known_version_goes_live():
    with pytest.raises(Reject, match=r"live version 2\.0\.0 is not among its versions"):
        guard(release(), release(live="2.0.0"))


def test_a_release_may_have_nothing_live():
    guard(release(), release(live=""))


def test_when_a_person_must_approve():
    assert approval_needed("HIGH_RISK", "auto")
    assert approval_needed("LIMITED_RISK", "required")
    assert not approval_needed("LIMITED_RISK", "auto")
    assert not approval_needed("GENERAL_PURPOSE", "auto")
