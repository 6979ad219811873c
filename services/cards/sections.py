"""The ten sections of the card, each a function of the facts, and the block of where it all comes from.

What nobody said is None here: the template shows it as `not stated`, and never leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from services.cards.facts import Facts, stated
from services.cards.results import results, setbacks
from services.cards.training import data, methods
from shared.experiment.law import LOG_DAYS_HIGH_RISK
from shared.lifecycle import approval_needed

SCHEMA_VERSION = "1.0"
CLASSES: Mapping[str, str] = {
    "HIGH_RISK": "high-risk AI system (Article 6)",
    "GENERAL_PURPOSE": "general-purpose AI model (Chapter V)",
    "LIMITED_RISK": "duties of transparency (Article 50)",
    "MINIMAL_RISK": "no duties of its own, beyond literacy (Article 4)",
}
LOGS: tuple[tuple[str, str, str | None], ...] = (  # name, what it holds, the command that shows it
    (
        "event log",
        "every step from the push to the release, its cause, time and digests; only ever appended to",
        "kuznia events",
    ),
    (
        "gateway audit",
        (
            "a line a request: time, request id, route, status, duration, token id, tenant, model and version,"
            " digest of the weights, streamed or not, bytes in and out, kind of error; never prompt or answer"
        ),
        None,
    ),
    ("registry record", "status, metrics, approvals, digests of weights and card", "kuznia show"),
    ("run log", "what trainer, evaluation and engine printed", "kuznia logs"),
)


class Section(msgspec.Struct, frozen=True):
    """id: its name in the document. title: its heading. build: its content."""

    id: str
    title: str
    build: Callable[[Facts], dict[str, Any]]


def identification(facts: Facts) -> dict[str, Any]:
    """Section 1."""
    model = facts.registered.model
    return {
        "name": facts.said("name"),
        "model_id": model.model_id,
        "version": model.version,
        "tenant": model.tenant,
        "owner": facts.said("owner"),
        "licence": facts.said("licence"),
        "language": facts.said("language"),
        "registered_at": facts.registered.registered_at.isoformat(),
        "manifest_digest": facts.registered.artifact.manifest_digest,
    }


def purpose(facts: Facts) -> dict[str, Any]:
    """Section 2."""
    return {name: facts.said(f"purpose.{name}") for name in ("summary", "users", "not_for")}


def risk(facts: Facts) -> dict[str, Any]:
    """Section 3. The class is the owner's word; the card repeats it and judges nothing."""
    risk_class = facts.said("risk_class")
    approval = facts.said("deployment.approval") or "auto"
    needed = approval_needed(str(risk_class), str(approval))
    by_class = approval_needed(str(risk_class), "auto")
    return {
        "risk_class": risk_class,
        "meaning": CLASSES.get(str(risk_class)),
        "risk_analysis": facts.said("risk_analysis"),
        "ai_act_notes": facts.said("ai_act_notes"),
        "approval_needed": needed,
        "approval_because": ("the risk class" if by_class else "model.yaml: deployment.approval")
        if needed
        else None,
    }


def limitations(facts: Facts) -> dict[str, Any]:
    """Section 7. measured: where the tuned model did worse than the base model."""
    return {"stated": facts.said("limitations"), "measured": setbacks(facts)}


def oversight(facts: Facts) -> dict[str, Any]:
    """Section 8."""
    model = facts.registered.model
    return {
        **{name: facts.said(f"oversight.{name}") for name in ("monitoring", "withdrawal", "overseers")},
        "rollback_command": f"kuznia rollback {model.model_id}",
        "stop_command": f"kuznia deprecate {model.key} --reason WHY",
    }


def logging(facts: Facts) -> dict[str, Any]:
    """Section 9."""
    days = facts.said("logging.retention_days")
    short = facts.said("risk_class") == "HIGH_RISK" and not _at_least(days, LOG_DAYS_HIGH_RISK)
    return {
        "logs": [{"name": name, "holds": holds, "read_by": command} for name, holds, command in LOGS],
        "retention_days": days,
        "access": facts.said("logging.access"),
        "too_short": short,
        "minimum_days": LOG_DAYS_HIGH_RISK,
    }


def contact(facts: Facts) -> dict[str, Any]:
    """Section 10."""
    names = ("incidents", "responsible")
    return {**{name: facts.said(f"contact.{name}") for name in names}, "owner": facts.said("owner")}


def provenance(facts: Facts) -> dict[str, Any]:
    """From the served bytes back to the commit: each a thing that can be looked up and compared."""
    source, artifact = facts.registered.origin.source, facts.registered.artifact
    return {
        "repository": source.repository,
        "folder": source.experiment,
        "branch": stated(source.branch),
        "commit": source.commit,
        "tree": source.tree,
        "run_id": facts.registered.model.run_id,
        "weights": artifact.uri,
        "weights_bytes": artifact.size or None,
        "manifest_digest": artifact.manifest_digest,
        "base_model": artifact.base_model,
        "base_revision": stated(artifact.base_revision),
        "base_digest": stated(artifact.base_digest),
        "set_digest": stated(facts.validated.set_digest),
        "report_digest": stated(facts.validated.report_digest),
    }


SECTIONS = (
    Section("identification", "Identification", identification),
    Section("purpose", "Purpose and use", purpose),
    Section("risk", "Risk class", risk),
    Section("data", "Training data", data),
    Section("training", "Training methods", methods),
    Section("results", "Results and metrics", results),
    Section("limitations", "Limitations", limitations),
    Section("oversight", "Control and oversight", oversight),
    Section("logging", "Logging and audit", logging),
    Section("contact", "Contact and responsibility", contact),
)


def _at_least(value: Any, least: int) -> bool:
    return isinstance(value, (int, float)) and value >= least
