"""The ten lines that run a reaction on real ports, and the named points between them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

from shared.errors import KuzniaError
from shared.ports.bus import Bus
from shared.reaction import Call, Commit, Load, Now, Perform, Publish
from shared.service import Effect, Ports, Service

T = TypeVar("T")
Observer = Callable[[str], None]


def unobserved(_point: str) -> None:
    """The observer of production: nothing."""


class Driver:
    """Carries out what a reaction asks for.

    observer: told `before-<call>` and `after-<call>` around every port call; the tests kill there.
    """

    def __init__(
        self, services: Mapping[str, Service], ports: Ports, bus: Bus, observer: Observer = unobserved
    ) -> None:
        self._ports = ports
        self._bus = bus
        self._observer = observer
        self._effects: Mapping[str, Mapping[str, Effect]] = {
            name: service.effects(ports) for name, service in services.items()
        }

    def run(self, reaction: Generator[Call, Any, T]) -> T:
        """Run it to its end. Raises what it raises: Retry, Reject, Conflict, Unknown."""
        answer: Any = None
        error: KuzniaError | None = None
        while True:
            try:
                call = reaction.send(answer) if error is None else reaction.throw(error)
            except StopIteration as stop:
                value: T = stop.value
                return value
            answer, error = None, None
            try:
                answer = self._observed(call)
            except KuzniaError as failure:
                error = failure

    def _observed(self, call: Call) -> Any:
        name = call.do.effect if isinstance(call, Perform) else type(call).__name__.lower()
        self._observer(f"before-{name}")
        answer = self._carry_out(call)
        self._observer(f"after-{name}")
        return answer

    def _carry_out(self, call: Call) -> Any:
        match call:
            case Now():
                return self._ports.clock.now()
            case Load(key):
                return self._ports.store.load(key)
            case Commit(record):
                return self._ports.store.commit(record)
            case Publish(events):
                return self._bus.publish(events)
            case Perform(service, do, record):
                return self._effects[service][do.effect](do, record)
