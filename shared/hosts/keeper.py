"""What is in hand is lent on until it is settled, however long that takes; for hosts whose ports are far away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from shared.errors import KuzniaError
from shared.ports.bus import Bus, Delivery

LONGEST_SECONDS = 3600.0  # a handler that takes longer hangs: its delivery is lent on no more
log = logging.getLogger("kuznia.host")


class Extending(Bus, Protocol):
    """A bus whose leases can be made longer."""

    def extend(self, delivery: Delivery) -> bool:
        """Lend it for another while. False where the lease counts no more."""
        ...


class Keeper:
    """All methods may be called by any thread. lease_seconds: for which the bus lends."""

    def __init__(self, bus: Extending, lease_seconds: float) -> None:
        self._bus = bus
        self._pause = lease_seconds / 3
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._hands: dict[str, tuple[Delivery, float]] = {}
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @contextmanager
    def holding(self, delivery: Delivery) -> Iterator[None]:
        """While this is open the delivery stays lent."""
        with self._lock:
            self._hands[delivery.lease] = (delivery, time.monotonic())
            if not self._thread.is_alive() and not self._over.is_set():
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._hands[delivery.lease]

    def close(self) -> None:
        """Once all is settled."""
        with self._lock:
            self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self) -> None:
        while not self._over.wait(self._pause):
            with self._lock:
                hands = list(self._hands.values())
            for delivery, since in hands:
                if time.monotonic() - since < LONGEST_SECONDS:
                    self._extend(delivery)

    def _extend(self, delivery: Delivery) -> None:
        try:
            extended = self._bus.extend(delivery)
        except KuzniaError as error:
            log.error("%s", error)
            return
        with self._lock:
            settled = delivery.lease not in self._hands
        if not extended and not settled:
            log.warning("%s lost its lease of %s", delivery.service, delivery.event.name)
