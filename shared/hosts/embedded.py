"""The whole platform in one process: deliveries are lent to a few threads; what nobody redelivers is swept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from shared.delivery import failed, handle, sweep
from shared.errors import KuzniaError, Retry
from shared.hosts.driver import Driver, Observer, unobserved
from shared.ports.bus import Bus, Delivery
from shared.service import Ports, Service

THREADS = 6
WAIT_SECONDS = 30.0
log = logging.getLogger("kuznia.host")


class EmbeddedHost:
    """Runs services on threads. start, then close; between them it never raises."""

    def __init__(
        self, services: Mapping[str, Service], ports: Ports, bus: Bus, observer: Observer = unobserved
    ) -> None:
        self._services = services
        self._ports = ports
        self._bus = bus
        self._driver = Driver(services, ports, bus, observer)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="reaction")
        self._room = threading.Semaphore(THREADS)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._dispatch_forever, name="dispatch", daemon=True),
            threading.Thread(target=self._sweep_forever, name="sweep", daemon=True),
        ]

    def subscribe(self) -> None:
        """Register what every service hears; what is published from now on reaches it."""
        for service in self._services.values():
            self._bus.subscribe(service.name, service.hears)

    def start(self) -> None:
        """Subscribe, then begin."""
        self.subscribe()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Finish what is in hand; what is not yet lent waits for the next start."""
        self._stop.set()
        self._bus.stop_leasing()
        for thread in self._threads:
            thread.join()
        self._pool.shutdown()

    def sweep(self) -> None:
        """Drain what records still owe: after a crash, and once a delayed effect is due."""
        for fault in self._driver.run(sweep(self._services, self._ports.settings.reconcile_seconds)):
            log.warning("sweep of %s", fault)

    def _dispatch_forever(self) -> None:
        while not self._stop.is_set():
            self._room.acquire()
            try:
                deliveries = [] if self._stop.is_set() else self._bus.lease(1, WAIT_SECONDS)
            except Retry as error:
                log.error("%s", error)
                deliveries = []
                self._stop.wait(1)
            except Exception:  # whatever one delivery holds, the others must go out
                log.exception("dispatch")
                deliveries = []
                self._stop.wait(1)
            if not deliveries:
                self._room.release()
            for delivery in deliveries:
                self._pool.submit(self._handle, delivery)

    def _handle(self, delivery: Delivery) -> None:
        try:
            self._settle(delivery)
        except KuzniaError as error:
            log.error("not even the outcome could be written, so it comes again: %s", error)
        finally:
            self._room.release()

    def _settle(self, delivery: Delivery) -> None:
        service = self._services.get(delivery.service)
        attempts = self._ports.settings.max_attempts
        if service is None:
            self._bus.bury(delivery, f"no service is called {delivery.service!r}")
            return
        try:
            self._driver.run(handle(service, delivery, attempts))
        except KuzniaError:
            raise
        except Exception as error:
            log.exception("%s could not handle %s", service.name, delivery.event.name)
            self._failed(service, delivery, error)

    def _failed(self, service: Service, delivery: Delivery, error: Exception) -> None:
        try:
            self._driver.run(failed(service, delivery, self._ports.settings.max_attempts, error))
        except KuzniaError:
            raise
        except Exception:  # the same bug struck while the record was being told: the dead letter tells it
            log.exception("%s could not give up %s", service.name, delivery.event.name)
            self._bus.bury(delivery, f"{type(error).__name__}: {error}")

    def _sweep_forever(self) -> None:
        while not self._stop.wait(self._ports.settings.reconcile_seconds):
            try:
                self.sweep()
            except Retry as error:
                log.error("%s", error)
            except Exception:  # the sweep must go on whatever one record holds
                log.exception("sweep")
