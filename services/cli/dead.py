"""`kuznia dead`: what was given up, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from events.envelope import to_structured_json
from services.cli.common import (
    installation,
    json_option,
    person,
    print_json,
    print_table,
    up_or_later,
    when,
)
from services.cli.describe import describe
from services.discovery import discover
from shared.errors import Reject
from shared.local import LocalPorts
from shared.operations import dead as looking_after
from shared.operations.dead import Given, Ward, given_up, one
from shared.ports.operations import Note

MOST_CAUSE = 100


@click.group()
def dead() -> None:
    """Look after what was given up: events a service could not handle.

    Mend the cause first, then redrive. What shall never be done is discarded, with a reason.
    """


@dead.command("list")
@click.option("--cause", default="", help="Only those whose cause holds this text.")
@json_option
def list_dead(cause: str, as_json: bool) -> None:
    """List dead letters and dead records, oldest first."""
    with installation() as (_, ports):
        found = given_up(_ward(ports), cause)
    if as_json:
        print_json([_plain(given) for given in found])
        return
    rows = [
        (
            given.event.id[:8],
            given.event.name,
            given.service,
            given.attempts or "",
            _record(given),
            when(given.at),
            _first(given.cause),
        )
        for given in found
    ]
    print_table("dead letters", ("id", "event", "service", "attempts", "record", "since", "cause"), rows)


@dead.command()
@click.argument("identifier", metavar="ID")
@click.option("--service", default="", help="Only with this service, where several gave it up.")
@json_option
def show(identifier: str, service: str, as_json: bool) -> None:
    """Show one whole: cause, attempts, the state of its record, the event."""
    with installation() as (_, ports):
        found = one(_ward(ports), identifier, service)
    if as_json:
        print_json([_plain(given) for given in found])
        return
    for given in found:
        _print_whole(given)


@dead.command()
@click.argument("identifier", metavar="[ID]", default="")
@click.option("--service", default="", help="Only with this service.")
@click.option("--cause", default="", help="All whose cause holds this text.")
@click.option("--all", "everything", is_flag=True, help="All there are.")
@click.option(
    "--rate", type=click.FloatRange(min=0), default=0, help="At most so many a second; 0: all at once."
)
@click.option("--reason", default="", help="What was mended; it is kept.")
@json_option
def redrive(
    identifier: str, service: str, cause: str, everything: bool, rate: float, reason: str, as_json: bool
) -> None:
    """Deliver it again, under its own id, with attempts counted anew: one, all of a cause, or all.

    It takes its place in the order of its subject. The record's mark goes once the event is handled.
    """
    if sum((bool(identifier), bool(cause), everything)) != 1:
        raise Reject("say which: an ID, --cause TEXT, or --all")
    with installation() as (settings, ports):
        ward = _ward(ports)
        chosen = one(ward, identifier, service) if identifier else given_up(ward, cause)
        chosen = [given for given in chosen if service in ("", given.service)]
        detail = {"rate": rate, "cause": cause, "letters": [_brief(given) for given in chosen]}
        note = _note(ports, "redrive", reason, detail)
        made = looking_after.redrive(ward, chosen, rate, note) if chosen else 0
        later = up_or_later(settings)
    if as_json:
        print_json({"redriven": made})
        return
    spread = f", over {len(chosen) / rate:.0f} s" if rate else ""
    click.echo(f"{made} of {len(chosen)} redriven{spread}{later}")


@dead.command()
@click.argument("identifier", metavar="ID")
@click.option("--service", default="", help="Only with this service.")
@click.option("--reason", required=True, help="Why it shall never be done; it is kept for ever.")
def discard(identifier: str, service: str, reason: str) -> None:
    """Put it away: no letter, no mark, and what it asked for will not be done. The event stays in the log."""
    if not reason.strip():
        raise Reject("--reason is empty: say why it shall never be done")
    with installation() as (_, ports):
        ward = _ward(ports)
        for given in one(ward, identifier, service):
            detail = {**_brief(given), "attempts": given.attempts, "at": given.at, "owed": given.owes}
            looking_after.discard(ward, given, _note(ports, "discard", reason, detail))
            click.echo(f"discarded {given.event.name} {given.event.id} for {given.service}")


@dead.command()
@json_option
def notes(as_json: bool) -> None:
    """What operators did: redrives, discards, replays, imports, compactions; who, when, why."""
    with installation() as (_, ports):
        found = ports.operations.notes()
    if as_json:
        print_json(found)
        return
    rows = [(when(note.at), note.who, note.action, note.reason or "-") for note in found]
    print_table("notes", ("when", "who", "what", "why"), rows)


def _ward(ports: LocalPorts) -> Ward:
    return Ward(discover(), ports.store, ports.bus, ports.operations)


def _note(ports: LocalPorts, action: str, reason: str, detail: dict[str, object]) -> Note:
    return Note(at=ports.clock.now(), who=person(), action=action, reason=reason, detail=detail)


def _brief(given: Given) -> dict[str, object]:
    return {"event": given.event.id, "service": given.service, "cause": given.cause, "record": given.key}


def _plain(given: Given) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(given)
    return {**plain, "event": msgspec.json.decode(to_structured_json(given.event))}


def _record(given: Given) -> str:
    return f"{given.key} {'DEAD' if given.dead else given.status}".strip() or "-"


def _first(cause: str) -> str:
    first = cause.split("\n", 1)[0]
    return first if len(first) <= MOST_CAUSE else f"{first[:MOST_CAUSE]}…"


def _print_whole(given: Given) -> None:
    click.echo(f"{click.style(given.event.name, bold=True)}  {_told(given)}")
    facts: Sequence[tuple[str, object]] = (
        ("id", given.event.id),
        ("service", given.service),
        ("since", when(given.at)),
        ("attempts", given.attempts or "unknown: its letter is none any more"),
        ("record", f"{given.key or 'none'}, {given.status or 'not there'}{', DEAD' if given.dead else ''}"),
        ("owes", ", ".join(given.owes) or "nothing of this event"),
        ("cause", given.cause),
    )
    for label, value in facts:
        click.echo(f"  {label:<8} {value}")
    print_json(given.event.data)


def _told(given: Given) -> str:
    try:
        return describe(given.event)
    except (LookupError, TypeError):  # its payload may be just what it died of
        return given.event.subject
