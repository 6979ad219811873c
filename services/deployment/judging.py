"""What the platform's own judge of a canary is sent with: whom to ask, what, and how much. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from events.catalog import encode
from events.model_registered import ModelRegistered
from services.deployment.plan import plan_of
from services.deployment.rollout import Rollout
from shared.identity import workload_name
from shared.service import Wish

_OF_THE_SET = ("set", "sha256", "max_new_tokens", "report_only")


def facts_of(registered: ModelRegistered) -> dict[str, Any]:
    """Where the questions lie, kept of a version whose canary the platform is to judge."""
    manifest = registered.origin.manifest
    canary = plan_of(manifest.get("deployment", {})).canary
    if canary is None or canary.judge is None or canary.judge.by != "platform":
        return {}
    evaluation = {name: value for name, value in manifest["evaluation"].items() if name in _OF_THE_SET}
    return {"questions": {"source": encode(registered.origin.source), "evaluation": evaluation}}


def sent(rollout: Rollout, model_id: str, versions: Mapping[str, Any]) -> tuple[Rollout, list[Wish]]:
    """The canary with a judge under way, and the wish for it; as it was where none is needed, or can be sent now.

    One that could not judge is not sent again by itself: the step's next look at it, or an operator, sends another.
    All that the job is told lies in the wish, so that it is the same job however often it is asked for.
    """
    judge, both = rollout.canary.judge, (rollout.against, rollout.version)
    if judge is None or rollout.judged or rollout.judging or rollout.unjudged:
        return rollout, []
    if not all(versions[name].get("address") for name in both):
        return rollout, []  # one sleeps: it is sent once somebody has woken it
    number = rollout.asked + 1
    name = workload_name("judge", model_id, rollout.version, rollout.mark.replace(".", "-"), str(number))
    told = {
        "job": name,
        "model_id": model_id,
        "tenant": versions[rollout.version]["tenant"],
        "mark": rollout.mark,
        "step": rollout.step,
        "metric": judge.metric,
        "samples": judge.samples,
        "version": rollout.version,
        "engines": [_engine(name, versions[name]) for name in both],
        **versions[rollout.version]["questions"],
    }
    return rollout.changed(asked=number, judging=name), [Wish("judge", told)]


def _engine(name: str, version: Mapping[str, Any]) -> dict[str, str]:
    """keeper: by whose name its key is derived: that of the engine in common, or of its own release."""
    return {
        "version": name,
        "address": version["address"],
        "model": version["engine_model"],
        "keeper": version.get("shared") or version["release"],
    }
