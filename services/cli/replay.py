"""`kuznia replay`: events of the log once more, or only a rehearsal of it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import click

from services.cli.common import installation, json_option, person, print_json, up_or_later
from services.cli.moments import Moment
from services.discovery import discover
from shared.errors import Reject
from shared.local import LocalPorts
from shared.operations.replay import Change, Selection, rehearse, select
from shared.operations.replay import replay as deliver
from shared.ports.operations import Note

MOST_VALUE = 70


@click.command()
@click.option(
    "--id", "ids", multiple=True, help="This event (its id, or the beginning of it); may be repeated."
)
@click.option("--type", "name", default="", help="All of this name, such as model-validated.")
@click.option("--subject", default="", help="All about this record, such as runs/r-….")
@click.option("--since", type=Moment(), default=None, help="Said from then on: 2026-11-23T10:00, or 2h ago.")
@click.option("--until", type=Moment(), default=None, help="Said before then; never in the future.")
@click.option("--service", "services", multiple=True, help="Only to this service; may be repeated.")
@click.option(
    "--all", "everything", is_flag=True, help="The whole log; needed where nothing else narrows it."
)
@click.option("--dry-run", is_flag=True, help="Only say, per record, what would change and be asked for.")
@click.option("--reason", default="", help="Why; it is kept with who and when. Needed without --dry-run.")
@json_option
def replay(
    ids: tuple[str, ...],
    name: str,
    subject: str,
    since: datetime | None,
    until: datetime | None,
    services: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    reason: str,
    as_json: bool,
) -> None:
    """Deliver events of the log again, under their own ids, to the services that hear them.

    What a record has heard it does not hear twice, so on a healthy system nothing happens; what it still owes
    is done. Use --dry-run first: it runs the real services against the real records and writes nothing.
    Exit code of a dry run: 0 where nothing would change, 1 where something would.
    """
    selection = Selection(ids=ids, name=name, subject=subject, since=since, until=until, services=services)
    if selection.whole and not everything:
        raise Reject(
            "say which events: --id, --type, --subject, --since, --until, or --all for the whole log"
        )
    if not (dry_run or reason.strip()):
        raise Reject("say why, with --reason; or see what would happen, with --dry-run")
    with installation() as (settings, ports):
        if dry_run:
            _rehearse(ports, selection, as_json)
            return
        made = _replay(ports, selection, reason)
        later = up_or_later(settings)
    if as_json:
        print_json(made)
    else:
        click.echo(f"{made['events']} event(s), {made['deliveries']} deliveries made{later}")


def _replay(ports: LocalPorts, selection: Selection, reason: str) -> dict[str, int]:
    now = ports.clock.now()
    found = select(ports.bus, ports.operations, selection, now)
    ids = [event.id for event in found]
    detail = {"selection": selection, "events": len(ids), "ids": ids[:1000]}
    note = Note(at=now, who=person(), action="replay", reason=reason, detail=detail)
    made = deliver(discover(), ports.operations, found, selection.services, note) if found else 0
    return {"events": len(found), "deliveries": made}


def _rehearse(ports: LocalPorts, selection: Selection, as_json: bool) -> None:
    now = ports.clock.now()
    found = select(ports.bus, ports.operations, selection, now)
    changes = rehearse(discover(), ports.store.load, found, selection.services, (ports.bus, now))
    telling = [change for change in changes if not change.nothing]
    if as_json:
        print_json({"events": len(found), "reactions": len(changes), "changes": telling})
    else:
        _print(len(found), changes, telling)
    if telling:
        raise click.exceptions.Exit(1)


def _print(events: int, changes: list[Change], telling: list[Change]) -> None:
    for key in dict.fromkeys(change.key for change in telling):
        click.secho(key or "(no record)", bold=True)
        for change in (change for change in telling if change.key == key):
            _print_change(change)
    known = sum(change.known for change in changes)
    click.echo(f"{events} event(s), {len(changes)} reactions, {known} of them heard before")
    if not telling:
        click.secho("nothing would change, nothing would be asked for", fg="green")
        return
    asked = Counter(effect for change in telling for effect in change.asked)
    wishes = ", ".join(f"{effect} ×{count}" for effect, count in asked.items()) or "no effect"
    click.secho(f"{len(telling)} reaction(s) would do something; {wishes} would be asked for", fg="yellow")


def _print_change(change: Change) -> None:
    click.echo(f"  {change.name} [{change.event[:8]}] in {change.service}")
    for path, (before, after) in change.changes.items():
        click.echo(f"    {path}: {_short(before)} -> {_short(after)}")
    for said in change.said:
        click.echo(f"    would say {said}")
    for effect in change.asked:
        click.echo(f"    would ask for {effect}")
    if change.fault:
        click.secho(f"    would fail: {change.fault}", fg="red")


def _short(value: object) -> str:
    text = "nothing" if value in (None, "") else str(value)
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]}…"
