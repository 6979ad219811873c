"""The composition root: the whole platform in one process, on the parts of the profile."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from services.console.app import ConsolePorts
from services.console.app import create_app as create_console
from services.discovery import discover
from services.gateway.app import create_app as create_gateway
from services.gateway.directory import StoreDirectory
from services.ingress.http import WithEvents
from services.ingress.receive import Place
from services.lock import Endpoints, HomeLock
from services.operations.live import doctor_of
from services.outbound.courier import courier
from services.servers import Servers, address, bind
from services.webhook.http import route
from services.webhook.missed import look
from services.webhook.receive import Receiver
from shared import profiles
from shared.errors import Retry
from shared.forge.environment import locate
from shared.forge.warm import WarmServer, launch
from shared.hosts.driver import Observer, unobserved
from shared.settings import Settings
from shared.storage.cleaning import Cleaner

MISSED_SECONDS = 60.0
REFRESH_SECONDS = 0.5
log = logging.getLogger("kuznia.platform")


class Platform:
    """Start, serve until told to stop, close. Raises Reject where home or port is taken."""

    def __init__(self, settings: Settings, observer: Observer = unobserved) -> None:
        self._settings = settings
        self._lock = HomeLock(settings.home)
        self._console_socket = bind(settings.host, settings.port, "KUZNIA_PORT")
        self._gateway_socket = bind(settings.host, settings.gateway_port, "KUZNIA_GATEWAY_PORT")
        known = discover()
        services = profiles.chosen(known)
        self._opened = profiles.open_ports(settings, tuple(services))
        self._cluster = profiles.open_cluster(settings, self._opened)
        ports = profiles.ports_of(settings, self._opened, self._cluster)
        self._host = profiles.open_host(services, ports, self._opened, observer)
        self._warm: WarmServer | None = None
        self._stop = threading.Event()
        self._alone = len(services) == len(known)
        self._refresher = threading.Thread(target=self._refresh_forever, name="cluster-refresh", daemon=True)
        self._looker = threading.Thread(target=self._look_forever, name="missed-pushes", daemon=True)
        opened = self._opened
        self._courier = courier(opened.store, opened.bus, opened.clock, settings, os.environ)
        self.endpoints = Endpoints(
            pid=os.getpid(), console=address(self._console_socket), gateway=address(self._gateway_socket)
        )

    def run(self, ready: Callable[[Endpoints], None]) -> None:
        """Serve until SIGTERM or SIGINT; calls `ready` once it answers."""
        self._start()
        try:
            asyncio.run(self._serve(ready))
        finally:
            self._close()

    def _start(self) -> None:
        trainer = locate(self._settings.cache)
        if trainer is None:
            log.warning("the trainer's environment is not there: runs will fail until `make trainer` made it")
        else:
            self._warm = launch(self._settings, trainer)
        self._host.subscribe()
        self._opened.bus.expire_leases()
        self._cluster.start()
        self._host.start()
        self._looker.start()
        threading.Thread(target=self._courier.run, name="courier", daemon=True).start()
        if not self._alone:
            self._refresher.start()
        self._lock.announce(self.endpoints)

    async def _serve(self, ready: Callable[[Endpoints], None]) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        applications = [(self._console(), self._console_socket), (self._gateway(), self._gateway_socket)]
        loop.call_soon(ready, self.endpoints)
        await Servers(applications).serve(stop)

    def _console(self) -> Any:
        opened, settings = self._opened, self._settings
        ports = ConsolePorts(
            store=opened.store,
            bus=opened.bus,
            artifacts=opened.artifacts,
            cluster=self._cluster,
            settings=settings,
            metrics=doctor_of(opened, self._cluster),
        )
        console = create_console(ports, open_paths=("/webhooks",))
        receiver = Receiver(opened.store, opened.bus, opened.clock, settings)
        console.router.routes.append(route(receiver, settings.max_body_bytes))
        place = Place(
            store=opened.store,
            bus=opened.bus,
            artifacts=opened.artifacts,
            clock=opened.clock,
            settings=settings,
        )
        return WithEvents(console, place)

    def _gateway(self) -> Any:
        opened = self._opened
        return create_gateway(StoreDirectory(opened.store), self._settings, publish=opened.bus.publish)

    def _look_forever(self) -> None:
        cleaner = Cleaner(self._opened.artifacts, self._opened.clock)
        while not self._stop.is_set():
            cleaner.clean()
            try:
                look(self._opened.store, self._opened.bus, self._opened.clock)
            except Retry as error:
                log.error("%s", error)
            self._stop.wait(MISSED_SECONDS)

    def _refresh_forever(self) -> None:
        """Services in other processes write down what is to run; this one runs it."""
        while not self._stop.wait(REFRESH_SECONDS):
            try:
                self._cluster.refresh()
            except OSError as error:
                log.error("the cluster's folder cannot be read: %s", error)

    def _close(self) -> None:
        self._stop.set()
        self._looker.join()
        self._courier.close()
        if not self._alone:
            self._refresher.join()
        self._host.close()
        self._cluster.close(stop_workloads=True)
        if self._warm is not None:
            self._warm.stop()
        self._opened.close()
        self._lock.close()
