"""The promise, checked on the live stores: each finding says what is wrong, where, and how to mend it.

A check is a generator of findings over a `Patient`; those here hold for any services.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from shared.operations.dead import Ward, given_up
from shared.operations.rebuild import differing, rebuild
from shared.operations.rehearsal import owners
from shared.ports.artifacts import Artifacts
from shared.ports.bus import Bus
from shared.ports.cluster import Status
from shared.ports.operations import Operations
from shared.ports.store import Store
from shared.record import Do, Record
from shared.service import Service

METRIC = "kuznia_doctor_findings"
UP_ADVICE = "start the platform: `kuznia up`"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """check: its name. where: record, event or workload."""

    check: str
    what: str
    where: str
    mend: str


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds something may take before it is a finding. quiet: a run that says nothing. settle: two records
    that follow each other. attempts: of one delivery.
    """

    owing: float = 60
    delivery: float = 300
    quiet: float = 3600
    settle: float = 60
    attempts: int = 4


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """What is examined. up: whether the platform runs. workloads: None where the cluster cannot be asked."""

    services: Mapping[str, Service]
    store: Store
    bus: Bus
    operations: Operations
    artifacts: Artifacts
    workloads: Sequence[Status] | None
    now: datetime
    up: bool = True
    patience: Patience = Patience()

    @property
    def ward(self) -> Ward:
        """As the dead letters are looked after."""
        return Ward(self.services, self.store, self.bus, self.operations)

    def since(self, moment: datetime | None) -> float:
        """Seconds that have passed; endless where there is no moment."""
        return (self.now - moment).total_seconds() if moment else float("inf")


Check = Callable[[Patient], Iterator[Finding]]


def examine(patient: Patient, checks: Mapping[str, Check]) -> list[Finding]:
    """All findings of all checks, in their order."""
    return [finding for check in checks.values() for finding in check(patient)]


def metrics(findings: Iterable[Finding], checks: Iterable[str], took: float) -> str:
    """Prometheus text (version 0.0.4): findings by check, zeros too, and the seconds it took."""
    counts = Counter(finding.check for finding in findings)
    lines = [
        f"# HELP {METRIC} What `kuznia doctor` finds wrong, by check.",
        f"# TYPE {METRIC} gauge",
        *(f'{METRIC}{{check="{name}"}} {counts[name]}' for name in sorted({*checks, *counts})),
        "# HELP kuznia_doctor_seconds How long the last examination took.",
        "# TYPE kuznia_doctor_seconds gauge",
        f"kuznia_doctor_seconds {took:.6f}",
    ]
    return "\n".join(lines) + "\n"


def owing(patient: Patient) -> Iterator[Finding]:
    """Outboxes that are due and nobody drains."""
    limit = timedelta(seconds=patient.patience.owing)
    kinds = owners(patient.services)
    for record in patient.store.owing(before=patient.now - limit, limit=1000):
        late = [intent for intent in record.outbox if _is_late(intent, patient.now - limit)]
        if late and record.kind in kinds:
            what = ", ".join(sorted({_named(intent) for intent in late}))
            seconds = patient.since(record.updated_at)
            mend = "look at `owes` and at the log for why the sweep fails" if patient.up else UP_ADVICE
            yield Finding(
                check="owing", what=f"owes {what} since {seconds:.0f} s", where=record.key, mend=mend
            )


def stuck(patient: Patient) -> Iterator[Finding]:
    """Deliveries that fail again and again, or that nobody takes."""
    for waiting in patient.operations.waiting(limit=100_000):
        late = -(waiting.due - patient.now).total_seconds()
        failing = waiting.attempts >= patient.patience.attempts
        if not failing and late < patient.patience.delivery:
            continue
        why = f"failed {waiting.attempts} times: {waiting.error}" if failing else f"waits since {late:.0f} s"
        mend = f"`kuznia events show {waiting.event.id}`; mend what the error names, it goes on by itself"
        where = f"{waiting.event.name} {waiting.event.id} for {waiting.service}"
        yield Finding(check="deliveries", what=why, where=where, mend=mend if patient.up else UP_ADVICE)


def dead(patient: Patient) -> Iterator[Finding]:
    """What was given up."""
    for given in given_up(patient.ward):
        first = given.cause.split("\n", 1)[0]
        where = f"{given.event.name} {given.event.id} for {given.service}"
        mend = (
            f"mend the cause, then `kuznia dead redrive {given.event.id}`;"
            f" or `kuznia dead discard {given.event.id} --reason …`"
        )
        what = first if given.letter else f"{given.key} is dead: {first}"
        yield Finding(check="dead", what=what, where=where, mend=mend)


def causes(patient: Patient) -> Iterator[Finding]:
    """Events whose cause the log does not hold."""
    for identifier, cause in patient.operations.unparented():
        yield Finding(
            check="causes",
            what=f"its cause {cause} is not in the log",
            where=identifier,
            mend="the log lost an event: compare it with the last `kuznia export events`, and import that elsewhere",
        )


def log_rebuilds(patient: Patient) -> Iterator[Finding]:
    """Decided again from the log alone, every record is what it is. Reads everything."""
    snapshot = patient.operations.snapshot()
    events = {event.id: event for event in snapshot.events}
    made = rebuild(patient.services, events, snapshot.decisions)
    kinds = owners(patient.services)
    lines = list(made.faults)
    for record in snapshot.records:
        if record.kind in kinds:
            again = made.records.get(record.key, Record(key=record.key))
            heard = set(record.inbox) <= set(again.inbox)
            again = msgspec.structs.replace(again, inbox=record.inbox) if heard else again
            lines += differing(again, record)
    for line in lines:
        where, _, what = line.partition(": ")
        mend = "an older Kuźnia decided it otherwise, or somebody wrote the record by hand; keep an export of both"
        yield Finding(check="rebuild", what=what or line, where=where, mend=mend)


GENERAL: Mapping[str, Check] = {"owing": owing, "deliveries": stuck, "dead": dead, "causes": causes}
DEEP: Mapping[str, Check] = {"rebuild": log_rebuilds}


def _is_late(intent: object, moment: datetime) -> bool:
    return not (isinstance(intent, Do) and intent.not_before and intent.not_before > moment)


def _named(intent: object) -> str:
    return f"effect {intent.effect}" if isinstance(intent, Do) else "an event"
