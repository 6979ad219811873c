"""Counters of the gateway in Prometheus' text form; labels are few and fixed, never a tenant, never a prompt."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "kuznia_gateway_"


class Metrics:
    """Written by the event loop alone, so without locks."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._upstream_errors: Counter[str] = Counter()

    def observe(self, route: str, code: int, seconds: float) -> None:
        """One request is over."""
        self._requests[route, code] += 1
        slots = self._durations.setdefault(route, [0] * (len(BUCKETS) + 1))
        slots[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def upstream_failed(self, kind: str) -> None:
        """An engine refused, broke, timed out, or spoke no HTTP."""
        self._upstream_errors[kind] += 1

    def text(self, extra: Mapping[str, float]) -> bytes:
        """The exposition. extra: further counters by name, kept elsewhere."""
        lines = [*self._counters(), *self._histogram()]
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
        yield from _family("in_flight", "gauge", [("", self.in_flight)])

    def _histogram(self) -> Iterator[str]:
        name = f"{_PREFIX}request_duration_seconds"
        yield f"# TYPE {name} histogram"
        for route, slots in sorted(self._durations.items()):
            below = 0
            for bound, count in zip((*BUCKETS, "+Inf"), slots, strict=True):
                below += count
                yield f'{name}_bucket{{route="{route}",le="{bound}"}} {below}'
            yield f'{name}_sum{{route="{route}"}} {self._seconds[route]:.6f}'
            yield f'{name}_count{{route="{route}"}} {below}'


def _family(name: str, kind: str, samples: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# TYPE {_PREFIX}{name} {kind}"
    for labels, value in samples:
        yield f"{_PREFIX}{name}{labels} {value:g}"
