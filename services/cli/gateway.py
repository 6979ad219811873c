"""`kuznia gateway`: the gateway alone, as many as are wanted, beside a platform that runs elsewhere."""

from __future__ import annotations

import logging
import signal

import click
import uvicorn

from services.gateway.app import create_app
from services.gateway.directory import StoreDirectory
from services.servers import address, bind
from shared import profiles
from shared.settings import Settings, from_environment
from shared.telemetry import configure

GRACE_SECONDS = 60


@click.command()
@click.option("--grace-seconds", default=GRACE_SECONDS, show_default=True, help="For answers that began.")
@click.option("--verbose", "-v", is_flag=True, help="Say on the terminal what is being done.")
def gateway(grace_seconds: int, verbose: bool) -> None:
    """Serve models to API clients on KUZNIA_GATEWAY_PORT (8600), and nothing else.

    Routes and tokens are read from the registry of the profile; any number of gateways may do so at once. Told to
    stop, it takes no more requests, and finishes answers that began.
    """
    settings = from_environment()
    configure(settings.home / "logs" / "kuznia.jsonl", logging.INFO if verbose else logging.WARNING)
    opened = profiles.open_ports(settings)
    try:
        _serve(settings, opened, grace_seconds)
    finally:
        opened.close()


def _serve(settings: Settings, opened: profiles.Opened, grace_seconds: int) -> None:
    listener = bind(settings.host, settings.gateway_port, "KUZNIA_GATEWAY_PORT")
    config = uvicorn.Config(
        create_app(StoreDirectory(opened.store), settings, publish=opened.bus.publish),
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=grace_seconds,
    )
    # uvicorn passes on, once it is done, the signal that it was stopped by; to us that is no reason to die of it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    click.echo(f"gateway   {address(listener)}/v1")
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
