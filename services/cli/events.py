"""`kuznia events`: the history of all that was said, and one event with what came before and after it."""

from __future__ import annotations

import time
from datetime import datetime

import click
import msgspec

from events.envelope import Event, to_structured_json
from services.cli.common import installation, json_option, print_json, when
from services.cli.describe import describe
from services.cli.moments import Moment, span
from services.cli.tenancy import Tenancy
from shared.local import LocalPorts
from shared.operations.reading import every_event, find_event, newest_events
from shared.operations.trace import Mark, ancestors, children, marks_of
from shared.ports.bus import Logged, Query

FOLLOW_SECONDS = 0.25
COLOURS = {"waiting": "yellow", "dead": "red", "decided": "green"}


@click.group(invoke_without_command=True)
@click.option("--type", "name", default="", help="Only events of this name, such as model-deployed.")
@click.option("--subject", default="", help="Only about this record, such as runs/r-….")
@click.option("--tenant", default="", help="Only of this tenant's runs and models.")
@click.option("--since", type=Moment(), default=None, help="Only from then on: 2026-11-23T10:00, or 2h ago.")
@click.option("--until", type=Moment(), default=None, help="Only what was said before.")
@click.option("--last", default=50, show_default=True, help="At most so many, the newest.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@json_option
@click.pass_context
def events(
    ctx: click.Context,
    name: str,
    subject: str,
    tenant: str,
    since: datetime | None,
    until: datetime | None,
    last: int,
    follow: bool,
    as_json: bool,
) -> None:
    """Print the event history; with --json as CloudEvents, one a line.

    `kuznia events show ID` shows one of them whole. The letters in brackets are the beginning of its id.
    """
    if ctx.invoked_subcommand:
        return
    query = Query(name=name, subject=subject, since=since, until=until)
    with installation() as (_, ports):
        shown = _newest(ports, query, tenant, last)
        for logged in shown:
            _print_event(logged.event, as_json)
        if follow:
            after = shown[-1].position if shown else 0
            _follow(ports, msgspec.structs.replace(query, after=after), tenant, as_json)


@events.command()
@click.argument("identifier", metavar="ID")
@json_option
def show(identifier: str, as_json: bool) -> None:
    """Show one event whole: what caused it, what it caused, who heard it, where it waits or is dead.

    ID: its id, or an unambiguous beginning of it.
    """
    with installation() as (_, ports):
        event = find_event(ports.bus, ports.operations, identifier)
        above, below = ancestors(ports.bus, event), children(ports.bus, event)
        marks = marks_of(ports.bus, ports.operations, event)
    if as_json:
        print_json(
            {
                "event": msgspec.json.decode(to_structured_json(event)),
                "ancestors": [_brief(each) for each in above],
                "children": [_brief(each) for each in below],
                "hearers": marks,
            }
        )
        return
    _print_whole(event, above, below)
    _print_marks(event, marks)
    click.secho("data:", bold=True)
    print_json(event.data)


def line(event: Event) -> str:
    """One event on one line."""
    return f"{when(event.time)}  {click.style(f'{event.name:<20}', bold=True)} {describe(event)}  [{event.id[:8]}]"


def _newest(ports: LocalPorts, query: Query, tenant: str, last: int) -> list[Logged]:
    tenancy = Tenancy(ports.store)
    return newest_events(ports.bus, query, lambda event: tenant in ("", tenancy.of(event)), last)


def _follow(ports: LocalPorts, query: Query, tenant: str, as_json: bool) -> None:
    while True:
        tenancy = Tenancy(ports.store)  # anew: a run that was unknown a moment ago may have its tenant by now
        for logged in every_event(ports.bus, query):
            query = msgspec.structs.replace(query, after=logged.position)
            if tenant in ("", tenancy.of(logged.event)):
                _print_event(logged.event, as_json)
        time.sleep(FOLLOW_SECONDS)


def _print_event(event: Event, as_json: bool) -> None:
    click.echo(to_structured_json(event).decode() if as_json else line(event))


def _print_whole(event: Event, above: list[Event], below: list[Event]) -> None:
    click.echo(f"{click.style(event.name, bold=True)}  {describe(event)}")
    facts = {
        "id": event.id,
        "said by": event.source,
        "subject": event.subject,
        "time": f"{when(event.time)} ({event.time.isoformat()})",
        "trace": event.traceparent or "none",
    }
    for label, value in facts.items():
        click.echo(f"  {label:<8} {value}")
    _print_list("caused by, from the first on", above)
    if event.cause and not above:
        click.secho(f"  its cause {event.cause} is not in the log", fg="red")
    _print_list("caused", below)


def _print_list(title: str, found: list[Event]) -> None:
    click.secho(f"{title}:", bold=True)
    for event in found:
        click.echo(f"  {line(event)}")
    if not found:
        click.echo("  nothing")


def _print_marks(event: Event, marks: tuple[Mark, ...]) -> None:
    click.secho("heard by:", bold=True)
    for mark in marks:
        click.echo(f"  {click.style(f'{mark.state:<8}', fg=COLOURS[mark.state])} {_told(event, mark)}")
    if not marks:
        click.echo("  nobody: no record decided it, and it waits for none")


def _told(event: Event, mark: Mark) -> str:
    if mark.state == "decided":
        return f"{mark.what} after {span((mark.at - event.time).total_seconds())}"
    tries = f"{mark.attempts} attempt(s)" if mark.attempts else "not yet tried"
    return f"{mark.who}, {tries}{': ' if mark.what else ''}{mark.what}"


def _brief(event: Event) -> dict[str, object]:
    return {"id": event.id, "name": event.name, "subject": event.subject, "time": event.time}
