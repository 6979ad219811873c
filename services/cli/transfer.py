"""`kuznia export`, `kuznia import`, `kuznia compact`: the log moved, made anew elsewhere, and kept small."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import click

from services.cli.common import installation, json_option, person, print_json
from services.discovery import discover
from services.lock import running
from shared.errors import Reject
from shared.operations.archive import read, write
from shared.operations.compaction import Compaction
from shared.operations.compaction import compact as carry_out
from shared.operations.compaction import plan as plan_compaction
from shared.operations.transfer import Plan, Result, bring_in
from shared.ports.operations import Note
from shared.profiles import GCP, open_ports, profile
from shared.settings import Settings, from_environment

FILE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
LEAST_DAYS = 7
MOST_KEPT = 10


@click.group()
def export() -> None:
    """Take the log out of this installation."""


@export.command("events")
@click.argument("file", type=FILE)
@json_option
def export_events(file: Path, as_json: bool) -> None:
    """Write the whole log, as of one moment, to FILE (- for the output): JSON Lines of CloudEvents.

    The platform may be up. With it go the order of all decisions, the records (to compare with; tokens only as
    hashes), what waits and what is dead. Weights, cards and secrets are files: copy KUZNIA_HOME, and the bucket
    where there is one, for those.
    """
    with installation() as (_, ports):
        snapshot = ports.operations.snapshot()
        with _writing(file) as target:
            header = write(snapshot, target, ports.clock.now())
    if as_json and str(file) != "-":
        print_json(header)
        return
    counts = ", ".join(f"{count} {kind}" for kind, count in header.counts.items()) or "nothing"
    click.echo(f"exported {counts}; {header.digest}", err=True)


@click.group("import")
def import_() -> None:
    """Make an installation from an exported log."""


@import_.command("events")
@click.argument("file", type=FILE)
@click.option("--cold", is_flag=True, help="Leave out what waits and is owed: a home only to be looked at.")
@click.option(
    "--accept-differences",
    is_flag=True,
    help="Take what today's services decide, where it is not as exported.",
)
@click.option("--reason", default="", help="Why; it is kept.")
@json_option
def import_events(file: Path, cold: bool, accept_differences: bool, reason: str, as_json: bool) -> None:
    """Rebuild every record from the log in FILE (- for the input), into the empty home KUZNIA_HOME.

    In the profile gcp it is the project's empty database, on which nobody must be at work; an import that was cut
    off there goes on when it is run again.

    Every event is decided again by the real services; no effect is performed and nothing is said, so no job
    starts. What was waiting or owed at the export is done at the next `kuznia up`, unless --cold. Importing the
    same file again changes nothing; a home that holds anything else is refused.
    """
    settings = from_environment()
    if running(settings.home):
        raise Reject(
            f"a platform runs on {settings.home}: stop it first, or set KUZNIA_HOME to an empty folder"
        )
    with _reading(file) as source:
        header, snapshot = read(source)
    plan = Plan(cold=cold, accept=accept_differences)
    with _bare(settings) as ports:
        detail = {"digest": header.digest, "exported": header.at, "counts": header.counts, "cold": cold}
        note = Note(at=ports.clock.now(), who=person(), action="import", reason=reason, detail=detail)
        result = bring_in(snapshot, discover(), (ports.operations, ports.store), plan, note)
    if as_json:
        print_json(result)
    else:
        _print_import(settings, result)


@click.command()
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=LEAST_DAYS),
    required=True,
    metavar="DAYS",
    help=f"What was said before so many days (at least {LEAST_DAYS}).",
)
@click.option("--apply", "do_it", is_flag=True, help="Do it; without, only say what would go.")
@click.option("--reason", default="", help="Why; it is kept.")
@json_option
def compact(days: int, do_it: bool, reason: str, as_json: bool) -> None:
    """Let go of what is no longer needed to keep the promise.

    Inbox entries of events older than DAYS, and progress reports that were overtaken. Pushes, verdicts, cards,
    approvals and releases always stay. From then on nothing older than DAYS can be replayed here.
    """
    with installation() as (_, ports):
        before = ports.clock.now() - timedelta(days=days)
        found = plan_compaction(ports.operations.snapshot(), discover(), before)
        if do_it and (found.entries or found.events):
            detail = {"before": before, "inbox_entries": found.entries, "events": len(found.events)}
            note = Note(at=ports.clock.now(), who=person(), action="compact", reason=reason, detail=detail)
            carry_out(found, (ports.operations, ports.store), note)
    if as_json:
        print_json({"before": before, "inbox_entries": found.entries, "applied": do_it, "plan": found})
    else:
        _print_compaction(found, do_it)


def _print_import(settings: Settings, result: Result) -> None:
    where = "the project" if profile() == GCP else str(settings.home)
    if not result.changed:
        click.echo(f"{where} holds just this already: nothing changed")
        return
    click.echo(
        f"{result.events} events, {result.decisions} decisions made again, {result.records} records in"
        f" {where}"
    )
    for line in result.differences[:MOST_KEPT]:
        click.secho(f"  {line}", fg="yellow")
    if result.waiting or result.owed:
        click.echo(
            f"{result.waiting} deliveries and {result.owed} effects are owed: `kuznia up` here does them"
            " (--cold leaves them out)"
        )
    if result.events and not result.decisions:
        click.echo("the file holds no decisions: `kuznia replay --all --dry-run` says what would follow")


def _print_compaction(found: Compaction, done: bool) -> None:
    word = "went" if done else "would go (--apply does it)"
    click.echo(
        f"before {found.before.isoformat(timespec='seconds')}: {found.entries} inbox entries of"
        f" {len(found.inboxes)} records and {len(found.events)} progress events {word}"
    )
    for line in found.kept[:MOST_KEPT]:
        click.echo(f"  stays: {line}")


@contextmanager
def _bare(settings: Settings) -> Iterator[Any]:
    """Ports of the profile, without the services being subscribed: nobody is to hear what is brought in."""
    ports = open_ports(settings)
    try:
        yield ports
    finally:
        ports.close()


@contextmanager
def _writing(file: Path) -> Iterator[IO[bytes]]:
    """FILE only appears once it is whole, for its owner's eyes; `-` is the output."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    aside = file.with_name(f".{file.name}.unfinished")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            yield target
        aside.replace(file)
    except OSError as error:
        raise Reject(f"{file} cannot be written: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _reading(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        with file.open("rb") as source:
            yield source
    except OSError as error:
        raise Reject(f"{file} cannot be read: {error.strerror}") from error
