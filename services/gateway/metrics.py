"""Counters of the gateway in Prometheus' text form; labels are few and fixed, never a tenant, never a prompt.

Versions are told apart by their role (live, canary, pinned) alone: which model it is, `traffic-measured` says.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from services.gateway.traffic import Outcome

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "kuznia_gateway_"


class Histogram:
    """Seconds in BUCKETS, under one label."""

    def __init__(self) -> None:
        self._slots: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def observe(self, label: str, seconds: float) -> None:
        """One more."""
        slots = self._slots.setdefault(label, [0] * (len(BUCKETS) + 1))
        slots[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[label] = self._seconds.get(label, 0.0) + seconds

    def lines(self, name: str, key: str) -> Iterator[str]:
        """The exposition."""
        name = _PREFIX + name
        yield f"# TYPE {name} histogram"
        for label, slots in sorted(self._slots.items()):
            below = 0
            for bound, count in zip((*BUCKETS, "+Inf"), slots, strict=True):
                below += count
                yield f'{name}_bucket{{{key}="{label}",le="{bound}"}} {below}'
            yield f'{name}_sum{{{key}="{label}"}} {self._seconds[label]:.6f}'
            yield f'{name}_count{{{key}="{label}"}} {below}'


class Metrics:
    """Written by the event loop alone, so without locks."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations = Histogram()
        self._upstream_errors: Counter[str] = Counter()
        self._roles: Counter[tuple[str, str]] = Counter()
        self._answers = {name: Histogram() for name in ("first_byte", "answer")}

    def observe(self, route: str, code: int, seconds: float) -> None:
        """One request is over."""
        self._requests[route, code] += 1
        self._durations.observe(route, seconds)

    def answered(self, role: str, outcome: Outcome) -> None:
        """A version's engine has answered, or failed to. role: live, canary or pinned."""
        self._roles[role, "failed" if outcome.failed else "answered"] += 1
        if outcome.timed:
            self._answers["first_byte"].observe(role, outcome.first)
            self._answers["answer"].observe(role, outcome.last)

    def upstream_failed(self, kind: str) -> None:
        """An engine refused, broke, timed out, or spoke no HTTP."""
        self._upstream_errors[kind] += 1

    def text(self, extra: Mapping[str, float]) -> bytes:
        """The exposition. extra: further counters by name, kept elsewhere."""
        lines = [*self._counters(), *self._durations.lines("request_duration_seconds", "route")]
        for name, histogram in self._answers.items():
            lines += histogram.lines(f"version_{name}_seconds", "role")
        for name, value in extra.items():
            lines += _family(f"{name}_total", "counter", [("", value)])
        return ("\n".join(lines) + "\n").encode()

    def _counters(self) -> Iterator[str]:
        requests = [
            (f'{{route="{route}",code="{code}"}}', count)
            for (route, code), count in sorted(self._requests.items())
        ]
        errors = [(f'{{kind="{kind}"}}', count) for kind, count in sorted(self._upstream_errors.items())]
        yield from _family("requests_total", "counter", requests)
        yield from _family("upstream_errors_total", "counter", errors)
        roles = [
            (f'{{role="{role}",outcome="{outcome}"}}', count)
            for (role, outcome), count in sorted(self._roles.items())
        ]
        yield from _family("version_requests_total", "counter", roles)
        yield from _family("in_flight", "gauge", [("", self.in_flight)])


def _family(name: str, kind: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        yield f"{_PREFIX}{name}{labels} {value:g}"
