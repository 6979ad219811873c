"""Commands that look: runs, models, show, card, logs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from services.cli.common import (
    find_run,
    find_version,
    installation,
    json_option,
    print_json,
    print_table,
    when,
)
from services.training.usage import spent_hours
from shared import profiles
from shared.errors import Reject
from shared.local import LocalPorts
from shared.operations.engines import server_of
from shared.record import Record

BRIEF_FIELDS = (
    "model_id",
    "version",
    "base_model",
    "base_revision",
    "tenant",
    "risk_class",
    "status",
    "artifact_path",
    "config_path",
    "data_id",
    "metrics",
    "owner",
    "created_at",
    "updated_at",
    "ai_act_notes",
)


@click.command()
@json_option
def runs(as_json: bool) -> None:
    """List training runs, newest first."""
    with installation() as (_, ports):
        found = sorted(ports.store.list("runs"), key=_created, reverse=True)
        now = ports.clock.now()
    if as_json:
        print_json([{**_plain(run), "gpu_hours": spent_hours(run.data, now)} for run in found])
        return
    columns = ("run", "status", "model", "step", "loss", "hours", "started", "cause")
    print_table("runs", columns, [_run_row(run, now) for run in found])


@click.command()
@click.option("--tenant", default="", help="Only of this tenant.")
@click.option("--status", default="", help="Only with this status: TRAINED, VALIDATED, DEPLOYED, DEPRECATED.")
@json_option
def models(tenant: str, status: str, as_json: bool) -> None:
    """List model versions, as the registry has them."""
    with installation() as (_, ports):
        found = [r for r in ports.store.list("models", status=status) if tenant in ("", r.data["tenant"])]
    if as_json:
        print_json([_plain(record) for record in found])
        return
    rows = [(r.name, r.status, r.data["risk_class"], r.data["owner"], when(r.updated_at)) for r in found]
    print_table("models", ("model@version", "status", "risk class", "owner", "updated"), rows)


@click.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show all that is known of a run (r-…) or of a MODEL[@VERSION]."""
    with installation() as (_, ports):
        record = find_run(ports, name) if name.startswith("r-") else find_version(ports, name)
    if as_json:
        print_json(_plain(record))
        return
    plain = _plain(record)
    first = [field for field in BRIEF_FIELDS if field in plain]
    for field in (*first, *(other for other in plain if other not in first)):
        click.echo(f"{click.style(field, bold=True)}: {_indented(plain[field])}")


@click.command()
@click.argument("model")
@json_option
def card(model: str, as_json: bool) -> None:
    """Print the model card of MODEL[@VERSION]: Markdown, or its JSON document."""
    with installation() as (_, ports):
        record = find_version(ports, model)
        path = record.data.get("card_document" if as_json else "card_path")
        if not path:
            raise Reject(
                f"{record.name} has no card: it is {record.status}, and a card follows a passed validation"
            )
        click.echo(ports.artifacts.read(path).decode())


@click.command()
@click.argument("name")
@click.option("--tail", default=200, show_default=True, help="Lines from the end.")
@json_option
def logs(name: str, tail: int, as_json: bool) -> None:
    """Print the log of a run, of an engine, or of a workload.

    NAME is a run (r-…), a MODEL[@VERSION] for its engine, or the workload itself.
    """
    with installation() as (settings, ports):
        workload = _workload(ports, name)
        cluster = profiles.open_cluster(settings, ports)
        try:
            text = cluster.logs(workload, tail)
        except FileNotFoundError:
            raise Reject(
                f"nothing was written by {workload!r} yet, or nothing of that name ever ran"
            ) from None
        finally:
            cluster.close(stop_workloads=False)
    if as_json:
        print_json({"workload": workload, "lines": text.splitlines()})
    else:
        click.echo(text, nl=not text.endswith("\n"))


def _workload(ports: LocalPorts, name: str) -> str:
    if name.startswith("r-"):
        return str(find_run(ports, name).data.get("job", name))
    if "." in name:
        record = find_version(ports, name)
        release = record.data.get("release")
        if not release:
            raise Reject(
                f"{record.name} was never deployed, so no engine has a log; `kuznia logs {record.data['run_id']}`"
            )
        known = ports.store.load(f"releases/{record.data['model_id']}").data.get("versions", {})
        version = known.get(record.data["version"], {})
        return server_of(ports.store, version) if version.get("shared") else str(release)
    return name


def _run_row(record: Record, now: datetime) -> tuple[object, ...]:
    data, progress = record.data, record.data.get("progress", {})
    model = data.get("model")
    loss = progress.get("loss")
    return (
        record.name,
        "DEAD" if record.dead else record.status,
        f"{model['model_id']}@{model['version']}" if model else data["source"]["experiment"],
        f"{progress['step']}/{progress['total_steps']}" if progress.get("total_steps") else "",
        f"{loss:.4f}" if loss is not None else "",
        f"{spent_hours(data, now):.2f}" if data.get("attempts") else "",
        when(record.created_at),
        str((record.dead.cause if record.dead else data.get("cause")) or _waits(data)).split("\n", 1)[0],
    )


def _waits(data: Mapping[str, Any]) -> str:
    place = data.get("queue") or {}
    return f"{place['place']} of {place['waiting']} waiting: {place['why']}" if place else ""


def _plain(record: Record) -> dict[str, object]:
    """The record's data with its envelope's fields, as the brief names them."""
    return {
        **record.data,
        "status": record.status,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "revision": record.revision,
        **({"dead": record.dead} if record.dead else {}),
    }


def _created(record: Record) -> str:
    return record.created_at.isoformat() if record.created_at else ""


def _indented(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"\n  {key}: {inner}" for key, inner in value.items()) or "-"
    if isinstance(value, list | tuple):
        return "".join(f"\n  - {inner}" for inner in value) or "-"
    return str(value) if value not in ("", None) else "-"
