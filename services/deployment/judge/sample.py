"""Which rows of the set a step of a canary is judged by. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

from shared.errors import Reject
from shared.evaluation.metrics import GENERAL, Row

_NEEDS = {"contains": "expect", "exact_match": "output", "rouge_l": "output"}


def measurable(rows: Sequence[Row], metric: str, report_only: Collection[str] = ()) -> list[Row]:
    """The rows that the metric can be measured on, and that are judged at all. Raises Reject where there is none."""
    needed = _NEEDS.get(metric)
    if needed is None:
        raise Reject(f"{metric} cannot be measured on answers; there are {', '.join(sorted(_NEEDS))}")
    able = [row for row in rows if row.group not in report_only and getattr(row, needed).strip()]
    found = [row for row in able if row.group != GENERAL] or able
    if not found:
        raise Reject(
            f"the evaluation set has no row with `{needed}` that is judged, so {metric} cannot be measured:"
            " add some, or name another metric under deployment.canary.judge"
        )
    return found


def drawn(rows: Sequence[Row], size: int, step: int) -> list[Row]:
    """`size` of them, or all where there are fewer; each step goes on where the one before it ended.

    Their order is a hash's: any part of it is a fair sample, however the set is sorted, and the same in every start.
    """
    shuffled = sorted(rows, key=_order)
    count = min(size, len(shuffled))
    start = step * count
    return [shuffled[(start + number) % len(shuffled)] for number in range(count)]


def _order(row: Row) -> bytes:
    return hashlib.sha256(f"{row.prompt}\n{row.output}\n{row.expect}".encode()).digest()
