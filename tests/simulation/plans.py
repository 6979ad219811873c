"""How versions take over in the simulated experiments: the lines that `deployment` of their model.yaml ends with."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

CANARY = "[{weight: 0.2, minutes: 0.5, requests: 10}, {weight: 0.6, minutes: 0.5, requests: 10}]"
PLANS = {
    "canary": f"strategy: canary\n  keep_minutes: 1\n  canary: {{steps: {CANARY}, patience_minutes: 2}}",
    "impatient": f"strategy: canary\n  canary: {{steps: {CANARY}, patience_minutes: 1, without_traffic: promote}}",
    "blue-green": "strategy: blue-green\n  keep_minutes: 1",
    "sleepy": "scale_to_zero_minutes: 1.5",
    "sleepy-canary": f"scale_to_zero_minutes: 2\n  strategy: canary\n  canary: {{steps: {CANARY}, patience_minutes: 2}}",
}
JUDGE = "judge: {metric: contains, max_drop: 0.1, samples: 10}"
JUDGED = {
    f"judged-{name}": plan.replace("canary: {steps", f"canary: {{{JUDGE}, steps")
    for name, plan in PLANS.items()
    if "canary:" in plan
}
TEXTS = PLANS | JUDGED


def judged(seed: int, planned: Mapping[str, str]) -> dict[str, str]:
    """The same plans, some of whose canaries the platform judges; drawn apart, so that all else is as without it."""
    rand = Random(f"{seed}/judged")
    return {name: f"judged-{plan}" if f"judged-{plan}" in JUDGED and rand.random() < 0.5 else plan
            for name, plan in planned.items()}  # fmt: skip


def worse(seed: int, model_id: str, version: str) -> bool:
    """Whether this version's answers are worse, for as long as the world stands."""
    return Random(f"{seed}/worse/{model_id}@{version}").random() < 0.3
