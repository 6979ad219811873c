"""What may be let go of without breaking the promise, and only that; each case is proven before it is dropped.

Inboxes: an entry is needed as long as its event may come again. Publishing it again is refused by the log, which
keeps its id; delivering it again is refused by `replay` up to the horizon; so entries older than the horizon go,
but those that still wait, or are dead. The journal of decisions keeps who decided what.

The log: only `training-progressed` that was overtaken by a later one, and only where the record that is decided
again without it is the same, and where no service would act on it if it were said again. Nothing else is ever
dropped: pushes, verdicts, cards, approvals, releases stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from events.envelope import Event
from shared.errors import Conflict
from shared.operations.rebuild import differing, rebuild
from shared.operations.rehearsal import Rehearsal, owners
from shared.ports.operations import Decided, Note, Operations, Snapshot
from shared.ports.store import Store
from shared.record import Record
from shared.service import Service

DROPPABLE = frozenset({"training-progressed"})
TRIES = 5


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """before: the horizon. inboxes: key -> how many entries go. events: ids that go from the log. kept: candidates
    that must stay, with why, a line each.
    """

    before: datetime
    inboxes: Mapping[str, int]
    events: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def entries(self) -> int:
        """Inbox entries that go."""
        return sum(self.inboxes.values())


def plan(snapshot: Snapshot, services: Mapping[str, Service], before: datetime) -> Compaction:
    """What could go, if all before that moment is to be forgotten."""
    busy = {waiting.event.id for waiting in snapshot.waiting} | {letter.event.id for letter in snapshot.dead}
    busy |= {death.event for record in snapshot.records for death in record.deaths}
    events = {event.id: event for event in snapshot.events}
    gone, kept = _from_log(snapshot, services, _Old(events, busy, before))
    kinds = owners(services)
    inboxes = {
        record.key: dropped
        for record in snapshot.records
        if record.kind in kinds
        and (dropped := sum(_old(identifier, events, busy, before) for identifier in record.inbox))
    }
    return Compaction(before=before, inboxes=inboxes, events=tuple(gone), kept=tuple(kept))


def compact(compaction: Compaction, ports: tuple[Operations, Store], note: Note) -> None:
    """Do it. The note, which is the horizon, comes first: from then on nothing older is delivered again.

    Raises Conflict where a record is written all the time; what was done stays done, and it can be run again.
    """
    operations, store = ports
    operations.note(note)
    snapshot = operations.snapshot()
    busy = {waiting.event.id for waiting in snapshot.waiting} | {letter.event.id for letter in snapshot.dead}
    busy |= {death.event for record in snapshot.records for death in record.deaths}
    events = {event.id: event for event in snapshot.events}
    for key in compaction.inboxes:
        _shorten(store, key, _Old(events, busy, compaction.before))
    operations.forget([identifier for identifier in compaction.events if identifier not in busy])


class _Old(msgspec.Struct, frozen=True):
    """Tells which events are old enough, and no longer on their way."""

    events: Mapping[str, Event]
    busy: set[str]
    before: datetime

    def __call__(self, identifier: str) -> bool:
        return _old(identifier, self.events, self.busy, self.before)


def _old(identifier: str, events: Mapping[str, Event], busy: set[str], before: datetime) -> bool:
    """An event that the log does not hold was dropped by an earlier compaction."""
    event = events.get(identifier)
    return identifier not in busy and (event is None or event.time < before)


def _shorten(store: Store, key: str, old: _Old) -> None:
    for attempt in range(TRIES):
        record = store.load(key)
        inbox = tuple(identifier for identifier in record.inbox if not old(identifier))
        try:
            store.commit(msgspec.structs.replace(record, inbox=inbox))
        except Conflict:
            if attempt == TRIES - 1:
                raise
        else:
            return


def _from_log(snapshot: Snapshot, services: Mapping[str, Service], old: _Old) -> tuple[list[str], list[str]]:
    causes = {event.cause for event in snapshot.events}
    candidates = {e.id for e in snapshot.events if e.name in DROPPABLE and old(e.id) and e.id not in causes}
    records = {record.key: record for record in snapshot.records}
    by_key: dict[str, list[Decided]] = {}
    for decided in snapshot.decisions:
        by_key.setdefault(decided.key, []).append(decided)
    gone: set[str] = set()
    needed: set[str] = set()
    kept: list[str] = []
    for key, decisions in by_key.items():
        mine = [decided.event for decided in decisions if decided.event in candidates]
        if not mine:
            continue
        spared = _shown(mine, decisions, old.events, services)
        out = set(mine) - {spared}
        why = _needed(records[key], decisions, out, old.events, services)
        needed |= {spared, *(out if why else ())}
        gone |= out
        if why:
            kept.append(why)
    return sorted(gone - needed), kept


def _shown(
    mine: list[str], decisions: list[Decided], events: Mapping[str, Event], services: Mapping[str, Service]
) -> str:
    """The last of these events that changed the record: it is what the record shows."""
    last, before = "", Record(key="/")
    for step in rebuild(services, events, decisions).steps:
        if (step.status, step.data) != (before.status, before.data) and step.inbox[-1] in mine:
            last = step.inbox[-1]
        before = step
    return last


def _needed(
    record: Record,
    decisions: list[Decided],
    out: set[str],
    events: Mapping[str, Event],
    services: Mapping[str, Service],
) -> str:
    """Why these events must stay; empty where they need not."""
    left = [decided for decided in decisions if decided.event not in out]
    made = rebuild(services, events, left)
    again = made.records.get(record.key, Record(key=record.key))
    again = msgspec.structs.replace(again, inbox=record.inbox)
    lines = [*made.faults, *differing(again, record)]
    if lines:
        return f"{record.key}: decided again without its old progress it is another ({lines[0]})"
    for identifier in out:
        acts = _acts(record, events[identifier], services)
        if acts:
            return f"{record.key}: said again, {identifier} would change it ({acts})"
    return ""


def _acts(record: Record, event: Event, services: Mapping[str, Service]) -> str:
    """What a service would do of an event if it were said once more and nobody knew that it was heard."""
    for service in services.values():
        if event.name not in service.hears or owners(services)[record.kind] is not service:
            continue
        unaware = msgspec.structs.replace(record, inbox=(), outbox=(), dead=None)
        played = Rehearsal({record.key: unaware}.__getitem__).react(service, event, event.time)
        if played.fault:
            return played.fault
        after = played.after or unaware
        if (after.status, after.data) != (unaware.status, unaware.data) or played.said or played.asked:
            return f"{service.name} would act"
    return ""
