"""What each version did with its requests, window by window; only of models whose release asks for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from events.traffic_measured import BOUNDS, Figures, TrafficMeasured
from services.gateway.ports import Route, Snapshot, Target

Key = tuple[str, str]  # model id, mark


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How one request ended. first, last: seconds until the answer's first byte, and its last; 0: none came.

    failed: the engine is to blame. timed: whether the times say something of the model; a refusal's do not.
    """

    failed: bool
    timed: bool
    first: float = 0
    last: float = 0


class Tally:
    """Of one version in one window."""

    def __init__(self) -> None:
        self.requests = self.errors = 0
        self.ttft = [0] * (len(BOUNDS) + 1)
        self.latency = [0] * (len(BOUNDS) + 1)

    def add(self, outcome: Outcome) -> None:
        """One request more."""
        self.requests += 1
        self.errors += outcome.failed
        if outcome.timed:
            self.ttft[bisect_left(BOUNDS, outcome.first)] += 1
            self.latency[bisect_left(BOUNDS, outcome.last)] += 1

    def figures(self) -> Figures:
        """As they are said."""
        return Figures(
            requests=self.requests, errors=self.errors, ttft=tuple(self.ttft), latency=tuple(self.latency)
        )


class Window:
    """number: of the window, counted from 1970 in its own length. said: nothing of it is to be said any more."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.said = False
        self.versions: dict[str, Tally] = {}


class Traffic:
    """Written by the event loop alone. gateway: its name. active: requests under way with `<model_id>@<version>`."""

    def __init__(self, gateway: str, active: Callable[[str], int]) -> None:
        self.gateway = gateway
        self._active = active
        self._windows: dict[Key, Window] = {}
        self._over: list[TrafficMeasured] = []

    def seen(self, target: Target, outcome: Outcome, now: datetime) -> None:
        """One request is over. It counts for the split that it was routed by, whatever holds now."""
        if target.route.window:
            window = self._window(target.route, now)
            window.versions.setdefault(target.version, Tally()).add(outcome)

    def collect(self, snapshot: Snapshot, now: datetime) -> list[TrafficMeasured]:
        """What is to be said by now.

        Beside a canary: what was counted, once its window is over. Of a version that may sleep: that it is in use, at
        the beginning of each window in which it is.
        """
        current = {(route.model_id, route.mark): route for route in snapshot.routes.values() if route.window}
        for key in self._windows.keys() - current.keys():
            del self._windows[key]
        for route in current.values():
            self._window(route, now)
        over, self._over = self._over, []
        return [
            *(found for found in over if (found.model_id, found.mark) in current),
            *self._used(current.values()),
        ]

    def _window(self, route: Route, now: datetime) -> Window:
        key, number = (route.model_id, route.mark), int(now.timestamp() // route.window)
        window = self._windows.get(key)
        if window is not None and window.number != number:
            if route.mark and window.versions:
                self._over.append(self._measured(route, window))
            window = None
        if window is None:
            window = self._windows[key] = Window(number)
        return window

    def _used(self, routes: Iterable[Route]) -> Iterator[TrafficMeasured]:
        for route in routes:
            window = self._windows[route.model_id, route.mark]
            if route.mark or window.said or not (window.versions or self._under_way(route)):
                continue
            window.said = True
            yield self._measured(route, window)

    def _measured(self, route: Route, window: Window) -> TrafficMeasured:
        start = window.number * route.window
        return TrafficMeasured(
            model_id=route.model_id,
            gateway=self.gateway,
            mark=route.mark,
            since=datetime.fromtimestamp(start, UTC),
            until=datetime.fromtimestamp(start + route.window, UTC),
            versions={name: tally.figures() for name, tally in sorted(window.versions.items())},
            in_flight=self._under_way(route),
        )

    def _under_way(self, route: Route) -> int:
        return self._active(Target(route, route.live).name) if route.live else 0
