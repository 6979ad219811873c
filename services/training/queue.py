"""Who may train: the runs that have a slot, those that wait, and the hours each tenant has used. Pure.

Order is by the moment of asking, to which lower priorities are set back: so it is first come, first served
within a priority, and who has waited long enough goes before what is more urgent and came later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from services.training.usage import HOUR, month, month_start

Priority = Literal["low", "normal", "high"]
SET_BACK: Mapping[str, timedelta] = {
    "high": timedelta(0),
    "normal": timedelta(hours=8),
    "low": timedelta(hours=24),
}
KEPT_MONTHS = 13


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant, or the installation, may use; None is no limit. high: whether it may be urgent."""

    runs: int | None = None
    gpu_hours: float | None = None
    high: bool = True


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A run that asks for a slot under the name of its job, or has one. gpus: what an hour of it counts.

    at: when it asked, and once it has a slot, since when.
    """

    run: str
    job: str
    tenant: str
    priority: Priority
    gpus: int
    at: datetime


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """running, waiting: by run. used: month -> tenant -> GPU hours of jobs that have ended."""

    running: dict[str, Entry] = {}
    waiting: dict[str, Entry] = {}
    used: dict[str, dict[str, float]] = {}

    def job(self, run: str) -> str:
        """The job under which a run is known here, or empty."""
        entry = self.running.get(run) or self.waiting.get(run)
        return entry.job if entry else ""

    def asked(self, entry: Entry) -> Ledger:
        """With this run among those that wait."""
        return msgspec.structs.replace(self, waiting={**self.waiting, entry.run: entry})

    def granted(self, run: str, now: datetime) -> Ledger:
        """The slot is its own."""
        entry = msgspec.structs.replace(self.waiting[run], at=now)
        return msgspec.structs.replace(
            self, running={**self.running, run: entry}, waiting=_without(self.waiting, run)
        )

    def ended(self, run: str, hours: Mapping[str, float]) -> Ledger:
        """It neither has a slot nor waits for one. hours: by month, counted where it had one."""
        entry = self.running.get(run)
        used = self.used
        for name, count in hours.items():
            if entry:
                tenants = used.get(name, {})
                used = {**used, name: {**tenants, entry.tenant: tenants.get(entry.tenant, 0.0) + count}}
        return Ledger(
            running=_without(self.running, run),
            waiting=_without(self.waiting, run),
            used={name: used[name] for name in sorted(used)[-KEPT_MONTHS:]},
        )

    def but(self, runs: Sequence[str]) -> Ledger:
        """As if these did not wait."""
        return msgspec.structs.replace(self, waiting=_without(self.waiting, *runs))

    def spent(self, tenant: str, now: datetime) -> float:
        """GPU hours of a tenant in this month, with those of what runs: from its slot on, and once it has ended by its
        attempts.
        """
        begin = month_start(now)
        running = (
            max(0.0, (now - max(entry.at, begin)).total_seconds()) / HOUR * entry.gpus
            for entry in self.running.values()
            if entry.tenant == tenant
        )
        return self.used.get(month(now), {}).get(tenant, 0.0) + sum(running)


def in_order(ledger: Ledger, limits: Mapping[str, Limits]) -> list[Entry]:
    """Those that wait, the next one first. limits: by tenant; the installation's under the empty name."""

    def rank(entry: Entry) -> tuple[datetime, str]:
        high = limits.get(entry.tenant, Limits()).high
        priority = "normal" if entry.priority == "high" and not high else entry.priority
        return entry.at + SET_BACK[priority], entry.run

    return sorted(ledger.waiting.values(), key=rank)


def turns(ledger: Ledger, limits: Mapping[str, Limits], now: datetime) -> dict[str, str]:
    """Each run that waits, in order -> why it must wait on; empty for those that may start now, all of them."""
    taken = Counter(entry.tenant for entry in ledger.running.values())
    found: dict[str, str] = {}
    for entry in in_order(ledger, limits):
        why = _full("the installation", limits.get("", Limits()), taken.total()) or _held_back(
            entry.tenant,
            limits.get(entry.tenant, Limits()),
            taken[entry.tenant],
            ledger.spent(entry.tenant, now),
        )
        taken[entry.tenant] += not why
        found[entry.run] = why
    return found


def _held_back(tenant: str, limits: Limits, taken: int, spent: float) -> str:
    if limits.gpu_hours is not None and spent >= limits.gpu_hours:
        return f"{tenant} has used {spent:.1f} of its {limits.gpu_hours:g} GPU hours of this month"
    return _full(tenant, limits, taken)


def _full(who: str, limits: Limits, taken: int) -> str:
    full = limits.runs is not None and taken >= limits.runs
    return f"{who} trains {taken} of {limits.runs} at once" if full else ""


def _without(entries: Mapping[str, Entry], *runs: str) -> dict[str, Entry]:
    return {name: entry for name, entry in entries.items() if name not in runs}
