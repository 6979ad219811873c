"""`kuznia up`: the whole platform in one process."""

from __future__ import annotations

import logging
import os

import click

from services.lock import Endpoints
from shared.hosts.faults import killer
from shared.settings import Settings, from_environment
from shared.telemetry import configure


@click.command()
@click.option("--verbose", "-v", is_flag=True, help="Say on the terminal what is being done.")
def up(verbose: bool) -> None:
    """Run the platform: console, registry and webhook on one port, the gateway on another.

    Everything is kept in KUZNIA_HOME (`.kuznia` here); a killed platform goes on where it was. Ports:
    KUZNIA_PORT (8500) and KUZNIA_GATEWAY_PORT (8600). Ctrl-C stops it, with what it runs; the next `up`
    starts that again.
    """
    from services.platform import Platform  # noqa: PLC0415 - servers and frameworks, which no other command needs

    settings = from_environment()
    configure(settings.home / "logs" / "kuznia.jsonl", logging.INFO if verbose else logging.WARNING)
    platform = Platform(settings, killer(os.environ))
    platform.run(lambda endpoints: _greet(settings, endpoints))


def _greet(settings: Settings, endpoints: Endpoints) -> None:
    click.echo(f"Kuźnia is up, in {settings.home}")
    click.echo(f"  console, registry   {endpoints.console}  (API: {endpoints.console}/docs)")
    click.echo(f"  webhook             {endpoints.console}/webhooks/github")
    click.echo(f"  gateway             {endpoints.gateway}/v1")
    click.echo("Ctrl-C stops it.")
