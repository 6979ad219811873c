"""`kuznia webhooks`: other systems that are told what happens, and what became of each delivery."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec

from services.cli.common import installation, json_option, opened, person, print_json, print_table, when
from services.outbound import SERVICE
from services.outbound.addresses import Refused, allowed_networks, choose, resolve_by_system
from services.outbound.courier import secret_name
from services.outbound.outcome import again
from services.outbound.subscribers import ALL, faults
from shared.errors import Reject
from shared.local import LocalPorts
from shared.record import Record
from shared.secrets import drop_old, forget, keep, rotate
from shared.settings import from_environment
from shared.standard_webhooks import new_secret

SHORT = 8  # of an event's id, as tables show it


@click.group()
def webhooks() -> None:
    """Tell other systems what happens, by signed webhooks (Standard Webhooks, CloudEvents)."""


@webhooks.command()
@click.argument("url")
@click.option("--events", default=ALL, show_default=True, help="Names of events, with commas; * for all.")
@click.option("--tenant", "tenants", multiple=True, help="Whose models it may hear of; * for all.")
@click.option("--label", default="", help="Whom or what it is for.")
@json_option
def add(url: str, events: str, tenants: tuple[str, ...], label: str, as_json: bool) -> None:
    """Tell URL of events from now on; prints the secret its deliveries are signed with, once."""
    wanted = _names(events)
    wrong = faults(url, wanted, SERVICE.hears)
    if not tenants:
        wrong.append("--tenant says whose models it may hear of; * for all")
    if wrong:
        raise Reject("\n".join(wrong))
    _warn(url)
    settings = from_environment()
    secret, name = new_secret(), f"s-{secrets.token_hex(4)}"
    data = {"url": url, "events": list(wanted), "tenants": list(tenants), "label": label, "by": person()}
    with opened(settings) as ports:
        keep(settings.home, secret_name(name), secret.encode())
        now = ports.clock.now()
        record = Record(key=f"subscribers/{name}", status="ACTIVE", data=data, created_at=now, updated_at=now)
        ports.store.commit(record)
    if as_json:
        print_json({"id": name, "secret": secret})
    else:
        click.echo(f"{secret}\n(subscriber {name}; the secret will not be shown again)")


@webhooks.command("list")
@json_option
def list_subscribers(as_json: bool) -> None:
    """List subscribers."""
    with installation() as (_, ports):
        found = [{"id": r.name, "status": r.status, **r.data} for r in ports.store.list("subscribers")]
    if as_json:
        print_json(found)
        return
    rows = [
        (r["id"], r["status"], ", ".join(r["events"]), ", ".join(r["tenants"]), r["label"], r["url"])
        for r in found
    ]
    print_table("subscribers", ("subscriber", "status", "events", "tenants", "label", "url"), rows)


@webhooks.command()
@click.argument("subscriber")
def remove(subscriber: str) -> None:
    """Tell SUBSCRIBER nothing more; what waits for it is given up."""
    with installation() as (settings, ports):
        _change(ports, subscriber, "REMOVED")
        forget(settings.home, secret_name(subscriber))
    click.echo(f"removed {subscriber}")


@webhooks.command()
@click.argument("subscriber")
def resume(subscriber: str) -> None:
    """Tell SUBSCRIBER again, after it answered 410 Gone."""
    with installation() as (_, ports):
        _change(ports, subscriber, "ACTIVE")
    click.echo(f"{subscriber} is told again; `kuznia webhooks redeliver` brings what it missed")


@webhooks.command("rotate")
@click.argument("subscriber")
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(min=0), help="The old one holds on."
)
@click.option("--drop-old", "dropped", is_flag=True, help="Make no new one; sign with the old one no longer.")
def rotate_secret(subscriber: str, days: int, dropped: bool) -> None:
    """Make a new secret and print it; until the old one ends, deliveries are signed with both."""
    with installation() as (settings, ports):
        _load(ports, subscriber)
        if dropped:
            known = drop_old(settings.home, secret_name(subscriber))
            click.echo("the old secret is gone" if known else f"{subscriber} has no old secret")
            return
        until = ports.clock.now() + timedelta(days=days)
        secret = new_secret()
        rotate(settings.home, secret_name(subscriber), secret.encode(), until)
    click.echo(secret)


@webhooks.command()
@click.option("--subscriber", default="", help="Only those to this one.")
@click.option("--status", default="", help="Only PENDING, WAITING, DELIVERED or FAILED.")
@click.option("--last", default=50, show_default=True, help="At most so many, the newest.")
@json_option
def deliveries(subscriber: str, status: str, last: int, as_json: bool) -> None:
    """List deliveries with what was answered, the newest first."""
    with installation() as (_, ports):
        found = sorted(
            _deliveries(ports, subscriber, status), key=lambda r: str(r.data["time"]), reverse=True
        )
    if as_json:
        print_json([{"id": r.name, "status": r.status, **r.data} for r in found[:last]])
        return
    print_table(
        "deliveries",
        ("delivery", "status", "event", "tries", "last answer", "next"),
        [_row(record) for record in found[:last]],
    )


@webhooks.command()
@click.argument("delivery", required=False)
@click.option("--failed", default="", metavar="SUBSCRIBER", help="All that were given up for this one.")
def redeliver(delivery: str | None, failed: str) -> None:
    """Deliver DELIVERY (`subscriber/event`, or how it begins) again, at once, whatever became of it."""
    if bool(delivery) == bool(failed):
        raise Reject("name a delivery, or --failed SUBSCRIBER")
    with installation() as (_, ports):
        if delivery:
            chosen: Sequence[Record] = [_chosen(ports, delivery)]
        else:
            _load(ports, failed)
            chosen = _deliveries(ports, failed, "FAILED")
        for one in chosen:
            ports.store.commit(again(one, ports.clock.now()))
    click.echo(f"{len(chosen)} to be delivered again")


def _names(events: str) -> tuple[str, ...]:
    return tuple(name for name in events.replace(",", " ").split() if name)


def _warn(url: str) -> None:
    """What stands in the way already; not a fault, for a name may come to be."""
    parts = urlsplit(url)
    try:
        choose(parts.hostname or "", parts.port or 443, allowed_networks(os.environ), resolve_by_system)
    except (Refused, OSError, UnicodeError) as error:
        click.secho(f"as it stands nothing can be delivered: {error}", fg="yellow", err=True)


def _load(ports: LocalPorts, subscriber: str) -> Record:
    record = ports.store.load(f"subscribers/{subscriber}")
    if record.revision == 0:
        raise Reject(f"there is no subscriber {subscriber!r}: `kuznia webhooks list` shows them")
    return record


def _change(ports: LocalPorts, subscriber: str, status: str) -> None:
    record = _load(ports, subscriber)
    now = ports.clock.now()
    ports.store.commit(msgspec.structs.replace(record, status=status, updated_at=now))


def _deliveries(ports: LocalPorts, subscriber: str, status: str) -> list[Record]:
    prefix = f"{subscriber}/" if subscriber else ""
    found: list[Record] = []
    after = ""
    while page := ports.store.list("deliveries", status=status, prefix=prefix, after=after):
        found += page
        after = page[-1].key
    return found


def _row(record: Record) -> tuple[object, ...]:
    data: dict[str, Any] = record.data
    last = data["attempts"][-1] if data["attempts"] else {}
    answer = f"{last['status'] or 'none'}, {last['milliseconds']} ms" if last else ""
    told = f"{when(last['at'])}: {last['error'] or answer}" if last else ""
    short = record.name[: len(data["subscriber"]) + 1 + SHORT]
    return short, record.status, data["name"], data["tries"], told, when(data.get("due"))


def _chosen(ports: LocalPorts, delivery: str) -> Record:
    """A delivery by its name or an unambiguous beginning of it."""
    found = ports.store.list("deliveries", prefix=delivery, limit=2)
    if len(found) == 1:
        return found[0]
    what = f"several deliveries begin with {delivery!r}" if found else f"there is no delivery {delivery!r}"
    raise Reject(f"{what}: `kuznia webhooks deliveries --json` lists them in full")
