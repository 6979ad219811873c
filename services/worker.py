"""One or more services alone, on the profile gcp: `python -m services.worker pull training cards`.

pull: leases by itself. push: hears what is pushed to `POST /<service>` on KUZNIA_HOST and KUZNIA_PORT.
reconcile: does beside services that are pushed to what nobody pushes: sweeps what records owe, and publishes
again what has waited for too long. subscribe: says once what the services hear, as each deployment does.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from services.discovery import discover
from services.servers import address, bind
from shared import profiles
from shared.delivery import sweep
from shared.errors import KuzniaError
from shared.hosts.driver import Driver
from shared.hosts.faults import killer
from shared.hosts.http import handler
from shared.hosts.light import LightServer
from shared.service import Service
from shared.settings import SettingsError, from_environment
from shared.told import Told

log = logging.getLogger("kuznia.host")
USAGE = "usage: python -m services.worker (pull | push | reconcile | subscribe) <service> …"


def main(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """0 once told to stop; 2 where it was called wrongly."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    mode, *names = words or [""]
    known = discover()
    if mode not in _MODES or not names or not set(names) <= set(known):
        sys.stderr.write(f"{USAGE}; services: {', '.join(known)}\n")
        return 2
    try:
        _MODES[mode]({name: known[name] for name in names}, environ)
    except (KuzniaError, SettingsError) as error:
        sys.stderr.write(f"✗ {error}\n")
        return 1
    return 0


def pull(services: Mapping[str, Service], environ: Mapping[str, str]) -> None:
    """Until SIGTERM or SIGINT; then what is in hand is finished."""
    with Told() as stop:
        settings = from_environment(environ)
        opened = profiles.open_ports(settings, tuple(services))
        host = profiles.open_host(services, profiles.ports_of(settings, opened), opened, killer(environ))
        try:
            host.start()
            _announce(f"pulling for {', '.join(services)}")
            stop.wait()
            host.close()
        finally:
            opened.close()


def reconcile(services: Mapping[str, Service], environ: Mapping[str, str]) -> None:
    """Every few seconds, until SIGTERM or SIGINT."""
    with Told() as stop:
        settings = from_environment(environ)
        opened = profiles.open_ports(settings, tuple(services))
        ports = profiles.ports_of(settings, opened)
        driver = Driver(services, ports, opened.bus, killer(environ))
        try:
            _announce(f"reconciling {', '.join(services)}")
            while not stop.wait(settings.reconcile_seconds):
                _reconcile_once(driver, services, opened, settings.reconcile_seconds)
        finally:
            opened.close()


def _reconcile_once(
    driver: Driver, services: Mapping[str, Service], opened: Any, quiet_seconds: float
) -> None:
    try:
        for fault in driver.run(sweep(services, quiet_seconds)):
            log.warning("sweep of %s", fault)
        opened.bus.resend(services)
    except KuzniaError as error:
        log.error("%s", error)


def subscribe(services: Mapping[str, Service], environ: Mapping[str, str]) -> None:
    """What is published from now on reaches them."""
    opened = profiles.open_ports(from_environment(environ))
    try:
        for service in services.values():
            opened.bus.subscribe(service.name, service.hears)
        _announce(f"subscribed: {', '.join(services)}")
    finally:
        opened.close()


def push(services: Mapping[str, Service], environ: Mapping[str, str]) -> None:
    """Until SIGTERM or SIGINT; then what is in hand is finished."""
    with Told() as stop:
        settings = from_environment(environ)
        listener = bind(settings.host, settings.port, "KUZNIA_PORT")
        server = LightServer(listener, handler(profiles.open_door(services, killer(environ))))
        thread = threading.Thread(target=server.serve, name="serve")
        thread.start()
        _announce(f"{address(listener)} is pushed to for {', '.join(services)}")
        stop.wait()
        server.close()
        thread.join()


def _announce(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


_MODES = {"pull": pull, "push": push, "reconcile": reconcile, "subscribe": subscribe}

if __name__ == "__main__":
    import os

    sys.exit(main(sys.argv[1:], os.environ))
