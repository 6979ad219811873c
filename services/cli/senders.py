"""`kuznia senders`: other systems that may post events to us."""

from __future__ import annotations

from datetime import timedelta

import click
import msgspec

from services.cli.common import installation, json_option, opened, person, print_json, print_table
from services.ingress import google
from services.ingress.http import PATH
from services.ingress.senders import faults, new_token
from shared.errors import Reject
from shared.settings import from_environment


@click.group()
def senders() -> None:
    """Let other systems post CloudEvents to us."""


@senders.command()
@click.argument("name")
@click.option("--event", "events", multiple=True, help="A name of events it may post; may be repeated.")
@click.option(
    "--source", "sources", multiple=True, help="A CloudEvents source it may speak for, with all below."
)
@click.option(
    "--google-account", "account", default="", help="A service account whose OIDC token it shows instead."
)
@click.option("--audience", default="", help="For whom that token is.")
@json_option
def add(
    name: str, events: tuple[str, ...], sources: tuple[str, ...], account: str, audience: str, as_json: bool
) -> None:
    """Let the system NAME post events; prints its token, once.

    With --google-account no token is made: Eventarc, or a Pub/Sub push, shows the one that Google signs for it.
    """
    wrong = faults(name, events, sources) + (google.faults(account, audience) if account else [])
    if wrong:
        raise Reject("\n".join(wrong))
    token, digest = new_token(name)
    with opened(from_environment()) as ports:
        record = ports.store.load(f"senders/{name}")
        if record.status == "ACTIVE":
            raise Reject(f"{name} may post already: `kuznia senders rotate {name}` makes a new token")
        proof = {"account": account, "audience": audience} if account else {"hash": digest}
        data = {**proof, "events": list(events), "sources": list(sources), "by": person()}
        now = ports.clock.now()
        created = record.created_at or now
        ports.store.commit(
            msgspec.structs.replace(record, status="ACTIVE", data=data, created_at=created, updated_at=now)
        )
    if as_json:
        print_json({"name": name, **(proof if account else {"token": token})})
    elif account:
        click.echo(f"{account} may POST to <this console>{PATH}, with a token for {audience}")
    else:
        click.echo(f"{token}\n(it will not be shown again; POST to <this console>{PATH})")


@senders.command("list")
@json_option
def list_senders(as_json: bool) -> None:
    """List senders, without their tokens."""
    with installation() as (_, ports):
        found = [
            {"name": r.name, "status": r.status, "events": r.data["events"], "sources": r.data["sources"]}
            for r in ports.store.list("senders")
        ]
    if as_json:
        print_json(found)
        return
    rows = [(r["name"], r["status"], ", ".join(r["events"]), ", ".join(r["sources"])) for r in found]
    print_table("senders", ("sender", "status", "events", "sources"), rows)


@senders.command()
@click.argument("name")
@click.option(
    "--days", default=7, show_default=True, type=click.IntRange(min=0), help="The old one holds on."
)
@click.option("--drop-old", is_flag=True, help="Make no new one; let the old one hold no longer.")
def rotate(name: str, days: int, drop_old: bool) -> None:
    """Make a new token for NAME and print it; until the old one ends, both hold."""
    with installation() as (_, ports):
        record = ports.store.load(f"senders/{name}")
        if record.status != "ACTIVE":
            raise Reject(f"there is no active sender {name!r}: `kuznia senders list` shows them")
        if "hash" not in record.data:
            raise Reject(f"{name} shows tokens that Google signs and changes: there is none to rotate")
        now = ports.clock.now()
        token, digest = new_token(name)
        until = (now + timedelta(days=days)).isoformat()
        kept = {key: value for key, value in record.data.items() if key != "old"}
        changed = {**kept, "hash": digest, "old": {"hash": record.data["hash"], "until": until}}
        data = kept if drop_old else changed
        ports.store.commit(msgspec.structs.replace(record, data=data, updated_at=now))
    click.echo("the old token holds no longer" if drop_old else token)


@senders.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Let NAME post no more, at once."""
    with installation() as (_, ports):
        record = ports.store.load(f"senders/{name}")
        if record.revision == 0:
            raise Reject(f"there is no sender {name!r}: `kuznia senders list` shows them")
        now = ports.clock.now()
        ports.store.commit(msgspec.structs.replace(record, status="REVOKED", updated_at=now))
    click.echo(f"revoked {name}")
