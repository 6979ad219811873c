"""How many GPU hours a run has used: from the moments at which its attempts began and ended. Pure.

Where a run has no GPU an hour of it counts as one. An attempt: job, attempt, began, ended (ISO 8601, UTC; empty
while it runs).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Attempt = dict[str, Any]
HOUR = 3600.0


def weight(resources: Mapping[str, Any]) -> int:
    """What an hour of the run counts: the GPUs of all its nodes, 1 where it has none."""
    return max(1, int(resources.get("gpus") or 0) * int(resources.get("nodes") or 1))


def began(attempts: Sequence[Attempt], job: str, attempt: int, at: datetime) -> list[Attempt]:
    """With this one begun; one before it that nobody saw end has ended now."""
    if any(known["job"] == job and known["attempt"] >= attempt for known in attempts):
        return list(attempts)
    return [*ended(attempts, at), {"job": job, "attempt": attempt, "began": at.isoformat(), "ended": ""}]


def ended(attempts: Sequence[Attempt], at: datetime) -> list[Attempt]:
    """With none running any more."""
    return [known if known["ended"] else {**known, "ended": _later(known, at)} for known in attempts]


def interrupted(attempts: Sequence[Attempt], at: datetime) -> list[Attempt]:
    """With none running that had begun by then: the word of a stop may come after the next attempt's start."""
    return [
        attempt if datetime.fromisoformat(attempt["began"]) > at else ended([attempt], at)[0]
        for attempt in attempts
    ]


def hours(attempts: Sequence[Attempt], gpus: int, now: datetime, job: str = "") -> float:
    """GPU hours of all attempts, or of those of a job; what runs counts up to now."""
    spans = _spans(attempts, now, job)
    return sum((end - begin).total_seconds() for begin, end in spans) / HOUR * gpus


def spent_hours(run: Mapping[str, Any], now: datetime) -> float:
    """GPU hours of a run's record, up to now."""
    return hours(run.get("attempts", []), run.get("gpus", 1), now)


def by_month(attempts: Sequence[Attempt], gpus: int, now: datetime, job: str) -> dict[str, float]:
    """Month (`2026-11`, UTC) -> GPU hours of a job's attempts that fell into it."""
    found: dict[str, float] = {}
    for begin, end in _spans(attempts, now, job):
        at = begin
        while at < end:
            cut = min(end, next_month(at))
            found[month(at)] = found.get(month(at), 0.0) + (cut - at).total_seconds() / HOUR * gpus
            at = cut
    return found


def used_up(run: str, spent: float, budget: float) -> str:
    """Why a run may not go on, and what would let it."""
    return (
        f"budget: {spent:.2f} of its {budget:g} GPU hours are used up;"
        f" `kuznia retry {run} --budget-hours …` goes on from its last checkpoint"
    )


def month(at: datetime) -> str:
    """`2026-11`."""
    return at.astimezone(UTC).strftime("%Y-%m")


def month_start(at: datetime) -> datetime:
    """The first moment of its calendar month (UTC)."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def next_month(at: datetime) -> datetime:
    """The first moment of the month after."""
    first = month_start(at)
    return first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)


def _spans(attempts: Sequence[Attempt], now: datetime, job: str) -> Iterator[tuple[datetime, datetime]]:
    for known in attempts:
        if job in ("", known["job"]):
            begin = datetime.fromisoformat(known["began"])
            yield begin, max(begin, datetime.fromisoformat(known["ended"]) if known["ended"] else now)


def _later(known: Attempt, at: datetime) -> str:
    """Never before its beginning: clocks of two machines differ."""
    return max(datetime.fromisoformat(known["began"]), at).isoformat()
