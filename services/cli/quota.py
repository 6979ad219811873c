"""`kuznia quota`: what a tenant, and the whole installation, may use of the machines; who waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
import msgspec

from events.quota_set import QuotaSet
from services.cli.common import (
    installation,
    json_option,
    opened,
    person,
    print_json,
    print_table,
    say,
    up_or_later,
    when,
)
from services.quotas.decide import INSTALLATION
from services.training.queue import Ledger, Limits, turns
from services.training.slots import KEY
from services.training.usage import month
from shared.errors import Reject
from shared.ports.store import Store
from shared.settings import from_environment

NONE = "unlimited"
DEAD = "it is dead, and holds up nobody: `kuznia dead list` says of what"


class Number(click.ParamType[Any]):
    """A number from 0, or the word `unlimited`, which is None."""

    name = "number"

    def __init__(self, kind: type[int | float]) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click. The words `unlimited` comes through as it is, for None would mean that nothing was said."""
        if value == NONE:
            return value
        try:
            number = self._kind(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither a number nor `{NONE}`", param, ctx)
        if not 0 <= number < float("inf"):
            self.fail(f"{value} is no number from 0 up", param, ctx)
        return number


@click.group()
def quota() -> None:
    """Set and show how much may be trained at once, and in a month."""


@quota.command("set")
@click.argument("tenant", required=False, default="")
@click.option("--installation", "whole", is_flag=True, help="Of all tenants together, in place of TENANT.")
@click.option("--runs", type=Number(int), help=f"Trainings at once, or `{NONE}`.")
@click.option("--gpu-hours", type=Number(float), help=f"GPU hours of a calendar month (UTC), or `{NONE}`.")
@click.option("--high/--no-high", default=None, help="Whether its runs may have the priority high.")
@click.option("--reason", default="", help="Why.")
def set_quota(tenant: str, *, whole: bool, runs: Any, gpu_hours: Any, high: bool | None, reason: str) -> None:
    """Set what TENANT may use; what is not named stays as it is.

    What already trains goes on when runs become fewer; when its hours are used up it is stopped with its state
    saved.
    """
    said = {"runs": runs, "gpu_hours": gpu_hours, "high": high}
    _refuse(tenant, said, whole=whole)
    with opened(from_environment()) as ports:
        known = msgspec.structs.asdict(_limits(ports.store, tenant))
        given = {name: None if value == NONE else value for name, value in said.items() if value is not None}
        word = QuotaSet(tenant=tenant, by=person(), reason=reason, **{**known, **given})
        say(ports, word, f"quotas/{tenant or INSTALLATION}")
        click.echo(f"{tenant or 'the installation'}: {_told(word)}{up_or_later(from_environment())}")


@quota.command("list")
@json_option
def list_quotas(as_json: bool) -> None:
    """Show quotas, what is used of them, and who waits, in order."""
    with installation() as (_, ports):
        now = ports.clock.now()
        ledger = msgspec.convert(ports.store.load(KEY).data, Ledger)
        limits = _all_limits(ports.store, ledger)
        rows = [_used(tenant, limits[tenant], ledger, now) for tenant in sorted(limits)]
        dead = [run for run in ledger.waiting if ports.store.load(f"runs/{run}").dead]
        waiting = [
            {"place": place, "run": run, "tenant": ledger.waiting[run].tenant, "why": why or "it is its turn"}
            for place, (run, why) in enumerate(turns(ledger.but(dead), limits, now).items(), 1)
        ]
        waiting += [
            {"place": None, "run": run, "tenant": ledger.waiting[run].tenant, "why": DEAD} for run in dead
        ]
        history = {
            record.data["tenant"]: record.data.get("history", []) for record in ports.store.list("quotas")
        }
    if as_json:
        quotas = [{**row, "history": history.get(row["tenant"], [])} for row in rows]
        print_json({"quotas": quotas, "waiting": waiting})
        return
    columns = ("tenant", "trains", "at once", "GPU hours", "of this month", "high", "set by")
    print_table("quotas", columns, [_row(row, history) for row in rows])
    if waiting:
        rows_of = [(entry["place"] or "-", *list(entry.values())[1:]) for entry in waiting]
        print_table("runs", ("place", "run", "tenant", "why"), rows_of)


def _refuse(tenant: str, said: Mapping[str, Any], *, whole: bool) -> None:
    if bool(tenant) == whole:
        raise Reject("name a TENANT, or --installation for all of them together")
    if all(value is None for value in said.values()):
        raise Reject("nothing to set: give --runs, --gpu-hours, --high or --no-high")
    if whole and (said["gpu_hours"] is not None or said["high"] is not None):
        raise Reject("--installation takes --runs only: hours and priorities are of a tenant")


def _limits(store: Store, tenant: str) -> Limits:
    return msgspec.convert(store.load(f"quotas/{tenant or INSTALLATION}").data, Limits)


def _all_limits(store: Store, ledger: Ledger) -> dict[str, Limits]:
    """Of every tenant that has a quota, or trains, or waits; the installation's under the empty name."""
    tenants = {record.data["tenant"] for record in store.list("quotas")}
    tenants |= {entry.tenant for entry in (*ledger.running.values(), *ledger.waiting.values())}
    return {tenant: _limits(store, tenant) for tenant in ("", *sorted(tenants))}


def _used(tenant: str, limits: Limits, ledger: Ledger, now: datetime) -> dict[str, Any]:
    mine = [entry for entry in ledger.running.values() if tenant in ("", entry.tenant)]
    tenants = (
        {*ledger.used.get(month(now), {}), *(entry.tenant for entry in mine)} if not tenant else {tenant}
    )
    spent = sum(ledger.spent(name, now) for name in tenants)
    return {"tenant": tenant, "training": len(mine), "used": spent, **msgspec.structs.asdict(limits)}


def _row(row: Mapping[str, Any], history: Mapping[str, list[dict[str, Any]]]) -> tuple[object, ...]:
    last = (history.get(row["tenant"]) or [{}])[-1]
    return (
        row["tenant"] or "(all)",
        row["training"],
        NONE if row["runs"] is None else row["runs"],
        f"{row['used']:.2f}",
        NONE if row["gpu_hours"] is None else f"{row['gpu_hours']:g}",
        "yes" if row["high"] else "no",
        f"{last['by']}, {when(last['at'])}" if last else "",
    )


def _told(word: QuotaSet) -> str:
    runs = NONE if word.runs is None else word.runs
    hours = NONE if word.gpu_hours is None else f"{word.gpu_hours:g}"
    return f"{runs} runs at once, {hours} GPU hours a month{'' if word.high else ', none of high priority'}"
