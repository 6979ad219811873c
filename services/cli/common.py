"""What commands share: opening the installation, printing for people or machines, saying an operator's event."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.table import Table

from events.catalog import encode, name_of
from events.envelope import Event
from services.discovery import discover
from services.lock import Endpoints, running
from shared.errors import Reject
from shared.identity import event_id
from shared.local import LocalPorts
from shared.profiles import installed, open_ports
from shared.record import Record
from shared.settings import Settings, from_environment

F = TypeVar("F", bound=Callable[..., Any])
SOURCE = "/kuznia/cli"
KEPT_WHOLE = 2  # columns that are never folded: what a row is, and how it stands


def json_option(command: F) -> F:
    """`--json` for every command that looks."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


@contextmanager
def installation() -> Iterator[tuple[Settings, LocalPorts]]:
    """Settings and ports of the home that is there. Raises Reject where there is none."""
    settings = from_environment()
    if not installed(settings):
        raise Reject(
            f"there is no installation in {settings.home}: `kuznia up` makes one,"
            " and KUZNIA_HOME names another folder"
        )
    with opened(settings) as ports:
        yield settings, ports


@contextmanager
def opened(settings: Settings) -> Iterator[LocalPorts]:
    """Ports of a home, made if need be, with every service subscribed so that no event falls beside."""
    ports = open_ports(settings)
    try:
        for service in discover().values():
            ports.bus.subscribe(service.name, service.hears)
        yield ports
    finally:
        ports.close()


def print_json(value: Any) -> None:
    """Any of our values as indented JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table that fits the terminal; says so where there is nothing."""
    console = Console()
    if not rows:
        console.print(f"no {title}", style="dim")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=index < KEPT_WHOLE)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    console.print(table)


def when(moment: datetime | str | None) -> str:
    """Local time to the second."""
    if not moment:
        return ""
    parsed = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return parsed.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def person() -> str:
    """Who is at the keyboard, for the record."""
    return os.environ.get("KUZNIA_USER") or getpass.getuser()


def say(ports: LocalPorts, payload: Any, subject: str) -> Event:
    """Publish an operator's event; each call is a new word, so its id holds the moment."""
    now = ports.clock.now()
    name = name_of(payload)
    event = Event(
        id=event_id(f"{SOURCE}/{person()}/{now.isoformat()}", name, subject),
        name=name,
        source=SOURCE,
        subject=subject,
        time=now,
        data=encode(payload),
    )
    ports.bus.publish([event])
    return event


def up_or_later(settings: Settings) -> str:
    """What to tell a person about an event just said."""
    return (
        "" if running(settings.home) else " (the platform is not up: it will be done at the next `kuznia up`)"
    )


def endpoints(settings: Settings) -> Endpoints:
    """Where the running platform answers. Raises Reject where none runs."""
    found = running(settings.home)
    if found is None:
        raise Reject(f"no platform runs on {settings.home}: start it with `kuznia up`")
    return found


def find_version(ports: LocalPorts, name: str) -> Record:
    """The registry's record of `model_id@version`, or of a model_id's live, else newest version.

    Raises Reject naming what there is.
    """
    if "@" in name:
        record = ports.store.load(f"models/{name}")
        if record.revision:
            return record
    versions = ports.store.list("models", prefix=f"{name.split('@', maxsplit=1)[0]}@")
    live = ports.store.load(f"releases/{name}").data.get("live")
    chosen = [record for record in versions if record.data["version"] == live] or list(versions)
    if chosen and "@" not in name:
        return max(chosen, key=lambda record: str(record.created_at))
    known = ", ".join(record.name for record in versions or ports.store.list("models")) or "none yet"
    raise Reject(f"no model version is called {name!r}; there are: {known}")


def find_run(ports: LocalPorts, name: str) -> Record:
    """A run by its id or an unambiguous beginning of it. Raises Reject naming what there is."""
    found = ports.store.list("runs", prefix=name)
    if len(found) == 1:
        return found[0]
    known = ", ".join(record.name for record in found or ports.store.list("runs")) or "none yet"
    raise Reject(f"{'several runs begin' if found else 'no run begins'} with {name!r}; there are: {known}")
