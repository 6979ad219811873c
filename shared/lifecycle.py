"""Statuses and legal transitions, as data, and the guards that every store asks inside its commit.

Whatever a service decided, these hold: they are the second pair of eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import Reject
from shared.record import Record

NEW = ""

TRANSITIONS: Mapping[str, frozenset[tuple[str, str]]] = {
    "branches": frozenset({(NEW, "WATCHED")}),
    "repositories": frozenset({(NEW, "CONNECTED"), ("CONNECTED", "REMOVED"), ("REMOVED", "CONNECTED")}),
    "claims": frozenset({(NEW, "CLAIMED")}),
    "slots": frozenset({(NEW, "OPEN")}),
    "quotas": frozenset({(NEW, "SET")}),
    "runs": frozenset(
        {
            (NEW, "REJECTED"),
            (NEW, "QUEUED"),
            (NEW, "TRAINING"),
            ("QUEUED", "TRAINING"),
            ("QUEUED", "SUCCEEDED"),  # the pod was faster than the word of its start
            ("QUEUED", "FAILED"),
            ("TRAINING", "SUCCEEDED"),
            ("TRAINING", "FAILED"),
            ("FAILED", "QUEUED"),  # an operator's retry
            ("FAILED", "SUCCEEDED"),  # the pod's own word came after the cluster's
        }
    ),
    "models": frozenset(
        {
            (NEW, "TRAINED"),
            ("TRAINED", "VALIDATED"),
            ("VALIDATED", "DEPLOYED"),
            ("DEPLOYED", "DEPRECATED"),
            ("TRAINED", "DEPRECATED"),
            ("VALIDATED", "DEPRECATED"),
            ("DEPRECATED", "DEPLOYED"),  # a rollback
        }
    ),
    "evaluations": frozenset(
        {
            (NEW, "MEASURING"),
            ("MEASURING", "PASSED"),
            ("MEASURING", "FAILED"),
        }
    ),
    "cards": frozenset({(NEW, "COLLECTING"), ("COLLECTING", "RENDERED")}),
    "releases": frozenset({(NEW, "ACTIVE")}),
    "engines": frozenset({(NEW, "ACTIVE")}),
    "tokens": frozenset({(NEW, "ACTIVE"), ("ACTIVE", "REVOKED")}),
    "statuses": frozenset(
        (old, new)
        for old in (NEW, "PENDING", "SUCCESS", "FAILURE")
        for new in ("PENDING", "SUCCESS", "FAILURE")
    ),
    "senders": frozenset({(NEW, "ACTIVE"), ("ACTIVE", "REVOKED"), ("REVOKED", "ACTIVE")}),
    "subscribers": frozenset(
        {
            (NEW, "ACTIVE"),
            ("ACTIVE", "GONE"),  # it answered 410
            ("GONE", "ACTIVE"),
            ("ACTIVE", "REMOVED"),
            ("GONE", "REMOVED"),
        }
    ),
    "broadcasts": frozenset({(NEW, "HEARD")}),
    "deliveries": frozenset(
        {
            (NEW, "PENDING"),
            ("PENDING", "WAITING"),  # it failed, and is tried again later
            *((old, new) for old in ("PENDING", "WAITING") for new in ("DELIVERED", "FAILED")),
            *((old, "PENDING") for old in ("WAITING", "DELIVERED", "FAILED")),  # an operator's redelivery
        }
    ),
}

NEEDS_APPROVAL = frozenset({"HIGH_RISK"})
ROUNDING = 1e-9
_NEVER_CHANGES = {"models": ("model_id", "version", "run_id", "tenant", "manifest_digest", "artifact_path")}


def guard(old: Record, new: Record) -> None:
    """Raises Reject where the lifecycle forbids this change, naming the rule; else returns."""
    legal = TRANSITIONS.get(new.kind)
    if legal is None:
        raise Reject(f"{new.key}: there is no kind of record called {new.kind!r}")
    if old.status != new.status and (old.status, new.status) not in legal:
        raise Reject(f"{new.key}: {old.status or 'nothing'} -> {new.status} is no legal transition")
    for field in _NEVER_CHANGES.get(new.kind, ()):
        if old.revision and old.data.get(field) != new.data.get(field):
            raise Reject(f"{new.key}: {field} never changes once it is registered")
    if new.kind == "models":
        _guard_model(old, new)
    if new.kind == "releases":
        _guard_release(old, new)


def approval_needed(risk_class: str, approval: str) -> bool:
    """Whether a person must approve: by the risk class, or because `model.yaml` asks for it."""
    return risk_class in NEEDS_APPROVAL or approval == "required"


def _guard_model(old: Record, new: Record) -> None:
    if (
        old.data.get("approvals")
        and new.data.get("approvals", [])[: len(old.data["approvals"])] != old.data["approvals"]
    ):
        raise Reject(f"{new.key}: who approved what is never rewritten")
    if old.data.get("card_digest") and old.data["card_digest"] != new.data.get("card_digest"):
        raise Reject(f"{new.key}: the card never changes once it is registered")
    if new.status == "DEPLOYED" and old.status != "DEPLOYED":
        _guard_release_gates(new.key, _gates_of_model(new.data))


def _guard_release(old: Record, new: Record) -> None:
    over = old.data.get("rollouts", [])
    if new.data.get("rollouts", [])[: len(over)] != over:
        raise Reject(f"{new.key}: how a canary ended is never rewritten")
    _guard_weights(new)
    live = new.data.get("live")
    if not live or live == old.data.get("live"):
        return
    version = new.data.get("versions", {}).get(live)
    if version is None:
        raise Reject(f"{new.key}: live version {live} is not among its versions")
    if version.get("state") != "live" or not version.get("address"):
        raise Reject(f"{new.key}: version {live} does not answer yet, so it cannot go live")
    _guard_release_gates(f"{new.key}@{live}", version)


def _guard_weights(new: Record) -> None:
    """Only the live version and one that went through every gate get requests, and together all of them."""
    weights = new.data.get("weights") or {}
    if weights and abs(sum(weights.values()) - 1) > ROUNDING:
        raise Reject(f"{new.key}: the weights {weights} do not add up to 1")
    for name, weight in weights.items():
        version = new.data.get("versions", {}).get(name, {})
        if not 0 <= weight <= 1:
            raise Reject(f"{new.key}: version {name} cannot have {weight:g} of the requests")
        if name == new.data.get("live"):
            continue
        if version.get("state") != "canary" or not version.get("address"):
            raise Reject(f"{new.key}: version {name} is no canary that answers, so it gets no requests")
        _guard_release_gates(f"{new.key}@{name}", version)


def _gates_of_model(data: Mapping[str, Any]) -> dict[str, Any]:
    validated = data.get("validation", {}).get("passed")
    return {
        "manifest_digest": data.get("manifest_digest"),
        "validated_digest": data.get("manifest_digest") if validated else "",
        "card_digest": data.get("card_digest"),
        "approval_needed": data.get("approval_needed"),
        "approvals": data.get("approvals", []),
    }


def _guard_release_gates(what: str, gates: Mapping[str, Any]) -> None:
    if not gates.get("manifest_digest") or gates.get("validated_digest") != gates["manifest_digest"]:
        raise Reject(f"{what}: a release needs a passed validation of exactly these weights")
    if not gates.get("card_digest"):
        raise Reject(f"{what}: a release needs a card")
    if gates.get("approval_needed") and not approved(gates):
        raise Reject(f"{what}: its risk class needs an approval of exactly these weights and this card")


def approved(gates: Mapping[str, Any]) -> bool:
    """Whether some approval binds exactly these weights and this card."""
    return any(
        approval["manifest_digest"] == gates["manifest_digest"]
        and approval["card_digest"] == gates["card_digest"]
        for approval in gates.get("approvals", [])
    )
