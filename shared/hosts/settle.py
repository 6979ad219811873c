"""One delivery, from the reaction to its outcome, on the caller's thread; for hosts whose ports are far away."""

from __future__ import annotations

import logging

from shared.delivery import failed, handle
from shared.errors import KuzniaError, Unknown
from shared.hosts.driver import Driver
from shared.ports.bus import Bus, Delivery
from shared.service import Service

log = logging.getLogger("kuznia.host")


class Settler:
    """Never raises anything but a KuzniaError, which says that not even the outcome could be written."""

    def __init__(self, driver: Driver, bus: Bus, max_attempts: int) -> None:
        self._driver = driver
        self._bus = bus
        self._max_attempts = max_attempts

    def settle(self, service: Service, delivery: Delivery) -> None:
        """Let the service hear it; whatever goes wrong ends as again later, or among the dead letters."""
        if delivery.attempt > self._max_attempts:
            cause = f"it was begun {delivery.attempt - 1} times, and whoever began it ended each time without a word"
            self._fail(service, delivery, Unknown(cause))
            return
        try:
            self._driver.run(handle(service, delivery, self._max_attempts))
        except KuzniaError:
            raise
        except Exception as bug:
            log.exception("%s could not handle %s", service.name, delivery.event.name)
            self._fail(service, delivery, bug)

    def _fail(self, service: Service, delivery: Delivery, error: Exception) -> None:
        try:
            self._driver.run(failed(service, delivery, self._max_attempts, error))
        except KuzniaError:
            raise
        except Exception:  # the same bug struck while the record was being told: the dead letter tells it
            log.exception("%s could not give up %s", service.name, delivery.event.name)
            self._bus.bury(delivery, f"{type(error).__name__}: {error}")
