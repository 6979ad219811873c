"""The whole platform in one process: deliveries are lent in portions; what nobody redelivers is swept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from shared.delivery import sweep
from shared.errors import Retry
from shared.hosts.company import Company
from shared.hosts.driver import Driver, Observer, unobserved
from shared.hosts.hands import Hands
from shared.ports.bus import Bus, Delivery
from shared.service import Ports, Service

THREADS = 6  # for effects
WAIT_SECONDS = 30.0
PAUSE_SECONDS = 1.0  # before a bus that could not be asked is asked again
log = logging.getLogger("kuznia.host")


class EmbeddedHost:
    """Runs services. start, then close; between them it never raises.

    company: what bus and store can write together; without it each write is one of its own.
    """

    def __init__(
        self,
        services: Mapping[str, Service],
        ports: Ports,
        bus: Bus,
        observer: Observer = unobserved,
        company: Company | None = None,
    ) -> None:
        self._services = services
        self._ports = ports
        self._bus = bus
        self._driver = Driver(services, ports, bus, observer, company)
        self._hands = Hands(services, self._driver, ports.settings.max_attempts, THREADS)
        self._stop = threading.Event()
        self._lender = threading.Thread(target=self._lend_forever, name="lend", daemon=True)
        self._reactor = threading.Thread(target=self._hands.run, name="react", daemon=True)
        self._sweeper = threading.Thread(target=self._sweep_forever, name="sweep", daemon=True)

    def subscribe(self) -> None:
        """Register what every service hears; what is published from now on reaches it."""
        for service in self._services.values():
            self._bus.subscribe(service.name, service.hears)

    def start(self) -> None:
        """Subscribe, then begin."""
        self.subscribe()
        for thread in (self._lender, self._reactor, self._sweeper):
            thread.start()

    def close(self) -> None:
        """Finish what is in hand; what is not yet lent waits for the next start."""
        self._stop.set()
        self._bus.stop_leasing()
        self._hands.lend_no_more()
        self._lender.join()
        self._hands.finish()
        self._reactor.join()
        self._sweeper.join()

    def sweep(self) -> None:
        """Drain what records still owe: after a crash, and once a delayed effect is due."""
        for fault in self._driver.run(sweep(self._services, self._ports.settings.reconcile_seconds)):
            log.warning("sweep of %s", fault)

    def _lend_forever(self) -> None:
        while not self._stop.is_set():
            if room := self._hands.room():
                self._hands.take(self._lent(room))

    def _lent(self, limit: int) -> Sequence[Delivery]:
        try:
            return self._bus.lease(limit, WAIT_SECONDS)
        except Retry as error:
            log.error("%s", error)
        except Exception:  # whatever one delivery holds, the others must go out
            log.exception("lend")
        self._stop.wait(PAUSE_SECONDS)
        return []

    def _sweep_forever(self) -> None:
        while not self._stop.wait(self._ports.settings.reconcile_seconds):
            try:
                self.sweep()
            except Retry as error:
                log.error("%s", error)
            except Exception:  # the sweep must go on whatever one record holds
                log.exception("sweep")
