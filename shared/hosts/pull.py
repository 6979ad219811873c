"""The pull worker: a few threads that lease, react and settle; what takes long is lent on meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from shared.delivery import sweep
from shared.errors import KuzniaError
from shared.hosts.driver import Driver, Observer, unobserved
from shared.hosts.keeper import Extending, Keeper
from shared.hosts.settle import Settler
from shared.ports.bus import Delivery
from shared.service import Ports, Service

WORKERS = 8  # deliveries in hand at once
WAIT_SECONDS = 30.0
PAUSE_SECONDS = 1.0
log = logging.getLogger("kuznia.host")


class PullHost:
    """Runs services. start, then close; between them it never raises."""

    def __init__(
        self, services: Mapping[str, Service], ports: Ports, bus: Extending, observer: Observer = unobserved
    ) -> None:
        self._services = services
        self._ports = ports
        self._bus = bus
        self._driver = Driver(services, ports, bus, observer)
        self._settler = Settler(self._driver, bus, ports.settings.max_attempts)
        self._stop = threading.Event()
        self._keeper = Keeper(bus, ports.settings.lease_seconds)
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(WORKERS if services else 0)
        ]
        self._sweeper = threading.Thread(target=self._sweep_forever, name="sweep", daemon=True)

    def subscribe(self) -> None:
        """Register what every service hears; what is published from now on reaches it."""
        for service in self._services.values():
            self._bus.subscribe(service.name, service.hears)

    def start(self) -> None:
        """Subscribe, then begin."""
        self.subscribe()
        for thread in (*self._workers, self._sweeper):
            thread.start()

    def close(self) -> None:
        """Finish and settle what is in hand; what is not yet lent waits for the next start, or goes to others."""
        self._stop.set()
        self._bus.stop_leasing()
        for thread in (*self._workers, self._sweeper):
            thread.join()
        self._keeper.close()

    def sweep(self) -> None:
        """Drain what records still owe: after a crash, and once a delayed effect is due."""
        for fault in self._driver.run(sweep(self._services, self._ports.settings.reconcile_seconds)):
            log.warning("sweep of %s", fault)

    def _work(self) -> None:
        while not self._stop.is_set():
            for delivery in self._lent():
                self._settle(delivery)

    def _lent(self) -> Sequence[Delivery]:
        try:
            return self._bus.lease(1, WAIT_SECONDS)
        except KuzniaError as error:
            log.error("%s", error)
        except Exception:  # whatever one delivery holds, the others must go out
            log.exception("lease")
        self._stop.wait(PAUSE_SECONDS)
        return []

    def _settle(self, delivery: Delivery) -> None:
        service = self._services.get(delivery.service)
        try:
            if service is None:
                self._bus.bury(delivery, f"no service is called {delivery.service!r}")
            else:
                with self._keeper.holding(delivery):
                    self._settler.settle(service, delivery)
        except KuzniaError as error:
            log.error("not even the outcome could be written, so it comes again: %s", error)
        except Exception:  # a worker lives on whatever one delivery does to it
            log.exception("settle")

    def _sweep_forever(self) -> None:
        while not self._stop.wait(self._ports.settings.reconcile_seconds):
            try:
                self.sweep()
            except KuzniaError as error:
                log.error("%s", error)
            except Exception:  # the sweep must go on whatever one record holds
                log.exception("sweep")
