"""The ten lines that run a reaction on real ports, and the named points between them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar

from shared.delivery import Ack, Again, Bury, Outcome, Owing
from shared.errors import KuzniaError, Unknown
from shared.hosts.company import Company, OneByOne, Written
from shared.ports.bus import Bus
from shared.reaction import Call, Commit, Load, Now, Perform, Publish
from shared.service import Effect, Ports, Service, Speech

T = TypeVar("T")
log = logging.getLogger("kuznia.host")
Observer = Callable[[str], None]
Asked = Call | Outcome | Owing


def unobserved(_point: str) -> None:
    """The observer of production: nothing."""


class Driver:
    """Carries out what a reaction asks for.

    observer: told `before-<call>` and `after-<call>` around every port call; the tests kill there.
    company: through which `write` goes.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        ports: Ports,
        bus: Bus,
        observer: Observer = unobserved,
        company: Company | None = None,
    ) -> None:
        self._ports = ports
        self._bus = bus
        self._observer = observer
        self._effects: Mapping[str, Mapping[str, Effect]] = {
            name: service.effects(ports) for name, service in services.items()
        }
        self._carry = self._carriers()
        self._company = company or OneByOne(lambda call: self._carry[type(call)](call))

    def run(self, reaction: Generator[Asked, Any, T]) -> T:
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

    def attempt(self, call: Asked) -> Any:
        """Carry out one call; answers with the exception where it fails."""
        try:
            return self._observed(call)
        except Exception as error:  # noqa: BLE001 - told to who asked
            return error

    def write(self, calls: Sequence[Written]) -> Sequence[Any]:
        """Carry out many at once; an exception stands in the place of one that failed."""
        names = [self._begin(call) for call in calls]
        try:
            answers = self._company.carry(calls)
        except Exception as error:  # noqa: BLE001 - told to who asked
            answers = [error] * len(calls)
        for name, answer in zip(names, answers, strict=True):
            if not isinstance(answer, BaseException):
                self._observer(f"after-{name}")
        return answers

    def _observed(self, call: Asked) -> Any:
        name = self._begin(call)
        answer = self._carry[type(call)](call)
        self._observer(f"after-{name}")
        return answer

    def _begin(self, call: Asked) -> str:
        """Tell of it; the name of its points."""
        name = call.do.effect if isinstance(call, Perform) else type(call).__name__.lower()
        if isinstance(call, Again | Bury):
            why = call.error if isinstance(call, Again) else call.cause
            log.warning("%s %s %s: %s", call.delivery.service, name, call.delivery.event.name, why)
        self._observer(f"before-{name}")
        return name

    def _carriers(self) -> dict[type[Any], Callable[[Any], Any]]:
        ports, bus = self._ports, self._bus
        return {
            Now: lambda _: ports.clock.now(),
            Load: lambda call: ports.store.load(call.key),
            Commit: lambda call: ports.store.commit(call.record),
            Owing: lambda call: ports.store.owing(before=call.before),
            Publish: lambda call: bus.publish(call.events),
            Perform: self._perform,
            Ack: lambda call: bus.ack(call.delivery),
            Again: lambda call: bus.retry(call.delivery, call.after, call.error),
            Bury: lambda call: bus.bury(call.delivery, call.cause),
        }

    def _perform(self, call: Perform) -> Sequence[Speech]:
        """A bug in one effect must not hold back the other records of a sweep."""
        try:
            return self._effects[call.service][call.do.effect](call.do, call.record)
        except KuzniaError:
            raise
        except Exception as error:
            log.exception("%s could not %s for %s", call.service, call.do.effect, call.record.key)
            raise Unknown(f"{call.do.effect}: {type(error).__name__}: {error}") from error
