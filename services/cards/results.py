"""Section 6: what was measured, of the tuned model and of the base model on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.cards.facts import Facts, stated

ORDER = ("contains", "exact_match", "rouge_l", "loss")
MEANINGS: Mapping[str, str] = {
    "contains": "share of the answers that hold a key phrase of their row",
    "exact_match": "share of the answers that are the reference, but for case, punctuation and white space",
    "rouge_l": "longest common subsequence of words with the reference, F1, mean over the rows",
    "loss": "negative log-likelihood of the reference, mean over its tokens; lower is better",
}
TITLES: Mapping[str, str] = {
    "contains": "contains the key phrase",
    "exact_match": "exact match",
    "rouge_l": "ROUGE-L",
    "loss": "loss",
}
LOWER_IS_BETTER = frozenset({"loss", "perplexity", "eval_loss"})
GENERAL = "general"  # the group of rows by which forgetting is seen
COUNT = "rows"  # not a metric, though a group may tell it among them


def results(facts: Facts) -> dict[str, Any]:
    """Section 6."""
    validated = facts.validated
    groups = sorted({*validated.groups, *validated.baseline_groups}, key=lambda name: (name == GENERAL, name))
    return {
        "passed": validated.passed,
        "evaluated_at": facts.validated_at.isoformat(),
        "set": facts.said("evaluation.set"),
        "set_digest": stated(validated.set_digest),
        "rows": validated.rows or None,
        "report": stated(validated.report),
        "report_digest": stated(validated.report_digest),
        "comparison": compare(validated.metrics, validated.baseline),
        "groups": [_group(facts, name) for name in groups],
        "forgetting": forgetting(facts),
        "gates": [
            {"metric": g.metric, "demand": g.demand, "measured": finite(g.measured), "passed": g.passed}
            for g in validated.gates
        ],
    }


def compare(tuned: Mapping[str, float], base: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row a metric: tuned, base, delta (tuned - base), and whether that is better; None where unknown."""
    return [_compared(name, tuned.get(name), base.get(name)) for name in _metrics({*tuned, *base})]


def worse(comparison: Iterable[Mapping[str, Any]]) -> list[str]:
    """The metrics in which the tuned model fell behind the base model."""
    return [str(row["metric"]) for row in comparison if row["verdict"] == "worse"]


def forgetting(facts: Facts) -> dict[str, Any]:
    """Whether general abilities suffered: measured only where the set has rows of group `general`."""
    validated = facts.validated
    if GENERAL not in validated.groups or GENERAL not in validated.baseline_groups:
        return {"measured": False, "worse": []}
    comparison = compare(validated.groups[GENERAL], validated.baseline_groups[GENERAL])
    return {"measured": True, "worse": worse(comparison)}


def setbacks(facts: Facts) -> list[dict[str, Any]]:
    """Groups in which the tuned model does worse than the base model: limitations that were measured."""
    return [
        {"group": group["name"], **row}
        for group in results(facts)["groups"]
        for row in group["comparison"]
        if row["verdict"] == "worse"
    ]


def finite(value: float | None) -> float | None:
    """The number, or None for what is no number; JSON and YAML have none but numbers."""
    return value if value is not None and math.isfinite(value) else None


def _group(facts: Facts, name: str) -> dict[str, Any]:
    tuned = facts.validated.groups.get(name, {})
    base = facts.validated.baseline_groups.get(name, {})
    rows = finite(tuned.get(COUNT, base.get(COUNT)))
    return {
        "name": name,
        "judged": name not in {GENERAL, *(facts.said("evaluation.report_only") or ())},
        "rows": None if rows is None else int(rows),
        "comparison": compare(tuned, base),
    }


def _metrics(names: set[str]) -> Sequence[str]:
    first = [name for name in ORDER if name in names]
    return [*first, *sorted(names - {*ORDER, COUNT})]


def _compared(name: str, tuned: float | None, base: float | None) -> dict[str, Any]:
    tuned, base = finite(tuned), finite(base)
    delta = None if tuned is None or base is None else round(tuned - base, 6)
    return {
        "metric": name,
        "title": TITLES.get(name, name),
        "meaning": MEANINGS.get(name),
        "tuned": tuned,
        "base": base,
        "delta": delta,
        "verdict": _verdict(name, delta),
    }


def _verdict(name: str, delta: float | None) -> str | None:
    if delta is None:
        return None
    if delta == 0:
        return "same"
    return "better" if (delta < 0) == (name in LOWER_IS_BETTER) else "worse"
