"""How a version is to take over, as its `model.yaml` says it under `deployment`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Strategy = Literal["replace", "blue-green", "canary"]
KEEP_MINUTES = 10.0  # where an operator asks for a strategy that model.yaml knows nothing of


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """weight: share of the requests. minutes: at least so long; requests: and until the canary had so many."""

    weight: float
    minutes: float = 5
    requests: int = 50


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """max_drop: of the mean score, against the live version. samples: of each, before it is judged by.

    by: `platform` asks both engines so many questions of the evaluation set at each step (all of them, where it
    has fewer); `events` waits for what others say, as every plan did that does not tell.
    """

    metric: str
    max_drop: float = 0.05
    samples: int = 20
    by: Literal["platform", "events"] = "events"


class Canary(msgspec.Struct, frozen=True, kw_only=True):
    """See `shared.experiment.manifest.Canary`, whose defaults these are."""

    steps: tuple[Step, ...] = (Step(weight=0.05), Step(weight=0.25), Step(weight=0.5))
    max_more_errors: float = 0.02
    max_ttft_ratio: float = 1.5
    max_latency_ratio: float = 1.5
    judge: Judge | None = None
    patience_minutes: float = 60
    without_traffic: Literal["hold", "promote"] = "hold"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """keep_minutes: so long a replaced engine stands by. scale_to_zero_minutes: 0 for never.

    cold_start_seconds: so long a request waits at the gateway for an engine that sleeps.
    """

    strategy: Strategy = "replace"
    keep_minutes: float = 0
    canary: Canary | None = None
    scale_to_zero_minutes: float = 0
    cold_start_seconds: float = 60


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asked for. at_once: switch, whatever the plan says. weight: of the first step, or 0."""

    by: str = ""
    strategy: Strategy | Literal[""] = ""
    weight: float = 0
    at_once: bool = False


def plan_of(known: Mapping[str, Any]) -> Plan:
    """From the part `deployment` of a manifest, or from a record. What it does not say has its default."""
    return msgspec.convert(known, Plan)


def canary_of(plan: Plan, manner: Manner) -> Canary:
    """With the operator's first share before all steps that give more."""
    canary = plan.canary or Canary()
    if not manner.weight:
        return canary
    first = msgspec.structs.replace(canary.steps[0], weight=manner.weight)
    more = (step for step in canary.steps if step.weight > manner.weight)
    return msgspec.structs.replace(canary, steps=(first, *more))


def keeps(incoming: Plan, outgoing: Plan, manner: Manner) -> float:
    """For how many minutes the outgoing engine stands by."""
    if manner.strategy == "replace":
        return 0
    planned = max(incoming.keep_minutes, outgoing.keep_minutes)
    return planned or (KEEP_MINUTES if manner.strategy else 0)
