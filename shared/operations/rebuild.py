"""Records made anew from the log: every decision again, by the real services, in the order and at the moments kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from events.envelope import Event
from shared.errors import KuzniaError
from shared.operations.rehearsal import Rehearsal, differences, owners
from shared.ports.operations import Decided
from shared.record import Record
from shared.service import Service

MOST_VALUE = 60


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """records: by key, as they stand in the end. steps: each commit on the way, in order; each passed the
    guards. faults: decisions that were made once and cannot be made again, a line each.
    """

    records: Mapping[str, Record]
    steps: Sequence[Record]
    faults: Sequence[str]


def rebuild(
    services: Mapping[str, Service],
    events: Mapping[str, Event],
    decisions: Iterable[Decided],
    owed: Callable[[str], Collection[str]] = lambda _key: (),
) -> Rebuilt:
    """Decide again. Nothing is performed and nothing is said.

    owed: of a record's key, the ids of the intents that it still owes; all others count as done.
    """
    kinds = owners(services)
    rehearsal = Rehearsal(lambda key: Record(key=key))
    steps, faults = [], []
    for decided in decisions:
        service, event = kinds.get(decided.key.split("/", 1)[0]), events.get(decided.event)
        if service is None or event is None:
            what = "no service owns such records" if service is None else "the log does not hold that event"
            faults.append(f"{decided.key} decided {decided.event}: {what}")
            continue
        before = rehearsal.record(decided.key)
        try:
            after = rehearsal.decide(service, event, decided.at)
        except KuzniaError as error:
            faults.append(f"{decided.key} decided {event.name} {event.id}: {type(error).__name__}: {error}")
            continue
        if after is None:
            faults.append(f"{decided.key} decided {event.name} {event.id}: now it would hear nothing in it")
            continue
        steps.append(_settled(after, before, owed(decided.key)))
        rehearsal.records[decided.key] = msgspec.structs.replace(steps[-1], revision=after.revision)
    return Rebuilt(records=dict(rehearsal.records), steps=steps, faults=faults)


def differing(rebuilt: Record, kept: Record) -> list[str]:
    """In what a rebuilt record differs from the one that was kept: status, data, inbox; a line each."""
    lines = []
    if rebuilt.status != kept.status:
        lines.append(f"{kept.key}: status is {rebuilt.status or 'none'}, was {kept.status}")
    for path, (now, was) in differences(rebuilt.data, kept.data).items():
        lines.append(f"{kept.key}: {path} is {_short(now)}, was {_short(was)}")
    if set(rebuilt.inbox) != set(kept.inbox):
        odd = len(set(rebuilt.inbox) ^ set(kept.inbox))
        lines.append(f"{kept.key}: {odd} event(s) were heard by one and not by the other")
    return lines


def _settled(after: Record, before: Record, owed: Collection[str]) -> Record:
    """As it is written: with the revision it was decided upon, and only what is still owed."""
    outbox = tuple(intent for intent in after.outbox if intent.id in owed)
    return msgspec.structs.replace(after, revision=before.revision, outbox=outbox)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]}…"
