"""Where events are pushed to: who pushes is looked at, the lane of the event is worked off up to it, and answered.

The answers are those that Pub/Sub acts upon: 2xx is done for good, anything else comes again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from events.envelope import Event
from shared.errors import KuzniaError, Retry
from shared.google.room import Wait
from shared.hosts.driver import Driver, Observer, unobserved
from shared.hosts.keeper import Extending, Keeper
from shared.hosts.settle import Settler
from shared.ports.bus import Delivery
from shared.service import Ports, Service

LONGEST_LANE = 64  # deliveries worked off for one push; the rest is left to their own
RETRY_AFTER = 5
log = logging.getLogger("kuznia.host")
Fault = Callable[[str], str]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """status: HTTP. text: for who reads logs. retry_after: seconds."""

    status: int
    text: str = ""
    retry_after: int = 0


class Claiming(Extending, Protocol):
    """A bus that can be asked for what is next where an event belongs."""

    def claim(self, service: str, event: Event) -> Delivery | Wait | None:
        """Lend it; None where nothing is to be done there."""
        ...


class Door:
    """All methods may be called by any thread. fault: what is wrong with an Authorization header, or empty."""

    def __init__(
        self,
        services: Mapping[str, Service],
        ports: Ports,
        bus: Claiming,
        fault: Fault | None = None,
        observer: Observer = unobserved,
    ) -> None:
        self._services = services
        self._bus = bus
        self._fault = fault
        self._keeper = Keeper(bus, ports.settings.lease_seconds)
        self._settler = Settler(Driver(services, ports, bus, observer), bus, ports.settings.max_attempts)

    def refusal(self, headers: Mapping[str, str]) -> Answer | None:
        """401 where who pushes is not who should; None where it is, or nobody asks."""
        if self._fault is None:
            return None
        try:
            fault = self._fault(headers.get("authorization", ""))
        except Retry as error:
            return Answer(status=503, text=str(error), retry_after=RETRY_AFTER)
        return Answer(status=401, text=fault) if fault else None

    def hear(self, name: str, event: Event) -> Answer:
        """204 done, or buried with its cause · 404 no such service · 503 not now, come again."""
        service = self._services.get(name)
        if service is None:
            return Answer(status=404, text=f"no service is called {name!r} here")
        try:
            return self._hear(service, event)
        except KuzniaError as error:
            log.error("%s", error)
            return Answer(status=503, text=str(error), retry_after=RETRY_AFTER)

    def _hear(self, service: Service, event: Event) -> Answer:
        for _ in range(LONGEST_LANE):
            claimed = self._bus.claim(service.name, event)
            if claimed is None:
                return Answer(status=204)
            if isinstance(claimed, Wait):
                told = f"an earlier delivery about {event.subject or event.id} is still under way, or put off"
                return Answer(status=503, text=told, retry_after=max(1, round(claimed.seconds)))
            with self._keeper.holding(claimed):
                self._settler.settle(service, claimed)
        return Answer(status=503, text="the lane is long; come again", retry_after=1)
