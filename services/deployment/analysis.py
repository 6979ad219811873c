"""Whether a canary does as well as the live version, from what gateways and judges measured of both. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Literal

import msgspec

from events.traffic_measured import BOUNDS, Figures
from services.deployment.plan import Canary, Judge

TAIL = 0.95
ROUNDING = 1e-9  # 1 - 0.95 is more than 0.05, as floats go
NOISE_SECONDS = 0.02  # below that, a difference of two percentiles is the machine's, not the model's


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one version, added up over gateways and windows; samples and total: of its judged answers."""

    requests: int = 0
    errors: int = 0
    ttft: tuple[int, ...] = ()
    latency: tuple[int, ...] = ()
    samples: int = 0
    total: float = 0

    @property
    def score(self) -> float:
        """Mean of the judged answers; 0 where there are none."""
        return self.total / self.samples if self.samples else 0.0


class Verdict(msgspec.Struct, frozen=True):
    """wait: too few requests to say. reason: the figures, for a person."""

    word: Literal["good", "bad", "wait"]
    reason: str


def added(tally: Tally, more: Figures) -> Tally:
    """With what another window saw."""
    return msgspec.structs.replace(
        tally,
        requests=tally.requests + more.requests,
        errors=tally.errors + more.errors,
        ttft=_summed(tally.ttft, more.ttft),
        latency=_summed(tally.latency, more.latency),
    )


def judged(tally: Tally, samples: int, mean: float) -> Tally:
    """With more judged answers."""
    return msgspec.structs.replace(tally, samples=tally.samples + samples, total=tally.total + samples * mean)


def quantile(slots: Sequence[int], share: float = TAIL) -> float:
    """Seconds within which that share of the answers came, between the bounds of its slot; 0 of none."""
    wanted, below = share * sum(slots), 0
    if not wanted:
        return 0.0
    for number, count in enumerate(slots):
        if below + count >= wanted and count:
            low = BOUNDS[number - 1] if number else 0.0
            high = BOUNDS[min(number, len(BOUNDS) - 1)]
            return low + (high - low) * (wanted - below) / count
        below += count
    return BOUNDS[-1]


def summary(tally: Tally) -> dict[str, float]:
    """What a person reads of it. Times in seconds."""
    read = {
        "requests": float(tally.requests),
        "errors": float(tally.errors),
        "error_rate": _share(tally.errors, tally.requests),
        "ttft_p95": round(quantile(tally.ttft), 4),
        "latency_p95": round(quantile(tally.latency), 4),
    }
    return read | ({"samples": float(tally.samples), "score": round(tally.score, 4)} if tally.samples else {})


def verdict(canary: Tally, live: Tally, minimum: int, limits: Canary) -> Verdict:
    """Bad as soon as it is sure; good or bad once there were `minimum` requests.

    Errors count against at least so many requests, of either: a single early one says nothing, and many say
    enough without waiting for more.
    """
    faults = [*_errors(canary, live, minimum, limits), *_score(canary, live, limits.judge)]
    if canary.requests >= minimum <= live.requests:
        faults += _times(canary, live, limits)
    if faults:
        return Verdict("bad", "; ".join(faults))
    return Verdict("good" if canary.requests >= minimum else "wait", described(canary, live))


def described(canary: Tally, live: Tally) -> str:
    """Both in one line."""
    one, other = summary(canary), summary(live)
    return (
        f"{canary.requests} requests, errors {one['error_rate']:.1%} against {other['error_rate']:.1%},"
        f" p95 to the first byte {one['ttft_p95']:.3g} s against {other['ttft_p95']:.3g} s,"
        f" to the last {one['latency_p95']:.3g} s against {other['latency_p95']:.3g} s{_scores(canary, live)}"
    )


def _scores(canary: Tally, live: Tally) -> str:
    if not min(canary.samples, live.samples):
        return ""
    return f", score {canary.score:.3g} against {live.score:.3g} over {canary.samples} answers"


def _errors(canary: Tally, live: Tally, minimum: int, limits: Canary) -> list[str]:
    rate = canary.errors / max(canary.requests, minimum)
    usual = live.errors / max(live.requests, minimum)
    if rate <= usual + limits.max_more_errors:
        return []
    failed, normal = _share(canary.errors, canary.requests), _share(live.errors, live.requests)
    said = (
        f"{canary.errors} of {canary.requests} requests failed, {failed:.1%}, where {normal:.1%} of the live"
        f" version's did and {limits.max_more_errors:.1%} more are allowed"
    )
    return [said]


def _times(canary: Tally, live: Tally, limits: Canary) -> list[str]:
    pairs = (
        ("first", canary.ttft, live.ttft, limits.max_ttft_ratio),
        ("last", canary.latency, live.latency, limits.max_latency_ratio),
    )
    found = []
    for name, slots, usual, ratio in pairs:
        took, normal = quantile(slots), quantile(usual)
        if normal and took > ratio * normal and took - normal > NOISE_SECONDS:
            found.append(
                f"95 % of the answers had their {name} byte within {took:.3g} s, where the live version's had"
                f" it within {normal:.3g} s and {ratio:g} times as long is allowed"
            )
    return found


def _score(canary: Tally, live: Tally, judge: Judge | None) -> list[str]:
    if judge is None:
        return []
    least = judge.samples if judge.by == "events" else 1  # the platform's sample is whole when it is told
    enough = min(canary.samples, live.samples) >= least
    if not enough or live.score - canary.score <= judge.max_drop + ROUNDING:
        return []
    said = (
        f"its {judge.metric} is {canary.score:.3g} over {canary.samples} answers, where the live version's is"
        f" {live.score:.3g} and {judge.max_drop:g} less is allowed"
    )
    return [said]


def _summed(one: Sequence[int], other: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
