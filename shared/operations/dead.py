"""What was given up: dead letters and dead records, seen as one; brought back, or put away for a reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from events.envelope import Event
from shared.errors import KuzniaError, Reject
from shared.operations.reading import every_record
from shared.operations.rehearsal import owners
from shared.ports.bus import Bus
from shared.ports.operations import Note, Operations
from shared.ports.store import Store
from shared.record import Dead, Do, Record, mark
from shared.service import Service


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a service gave up. letter: it lies with the dead letters; else only the record tells it.

    key, status: the record it was for, empty where it cannot be told. dead: the record bears the mark. owes: what
    this event asked for and is not done.
    """

    event: Event
    service: str
    cause: str
    attempts: int
    at: datetime
    letter: bool
    key: str
    status: str
    dead: bool
    owes: tuple[str, ...]


class Ward(msgspec.Struct, frozen=True):
    """What is needed to look after the dead."""

    services: Mapping[str, Service]
    store: Store
    bus: Bus
    operations: Operations


def given_up(ward: Ward, cause: str = "") -> list[Given]:
    """All of them, oldest first; only those whose cause holds this text, where one is given."""
    letters = [
        _given(ward, letter.event, letter.service, (letter.cause, letter.attempts, letter.at))
        for letter in ward.bus.dead_letters(limit=1_000_000)
    ]
    known = {(given.event.id, given.service) for given in letters}
    marked = [given for given in _marked(ward) if (given.event.id, given.service) not in known]
    found = sorted([*letters, *marked], key=lambda given: given.at)
    return [given for given in found if cause.lower() in given.cause.lower()]


def one(ward: Ward, identifier: str, service: str = "") -> list[Given]:
    """Those of one event (by the beginning of its id). Raises Reject where there is none, or of several events."""
    found = [
        given
        for given in given_up(ward)
        if given.event.id.startswith(identifier) and service in ("", given.service)
    ]
    if not found:
        of = f" of {service}" if service else ""
        raise Reject(f"nothing dead{of} has an id {identifier}…: `kuznia dead list` shows what is")
    if len({given.event.id for given in found}) > 1:
        raise Reject(f"several dead events have an id {identifier}…: give more of it")
    return found


def redrive(ward: Ward, given: Sequence[Given], rate: float, note: Note) -> int:
    """Deliver them again, attempts counted anew; at most `rate` a second, 0 for all at once. How many.

    The mark on the record goes once the event is handled.
    """
    ward.operations.note(note)
    gaps = 1 / rate if rate else 0
    return sum(
        ward.operations.redeliver(each.event.id, each.service, index * gaps)
        for index, each in enumerate(given)
    )


def discard(ward: Ward, given: Given, note: Note) -> None:
    """Put it away: no letter, no mark, and nothing that this event asked for will be done. What was is in the note.

    Raises Conflict where the record is being written just now.
    """
    ward.operations.note(note)
    record = ward.store.load(given.key) if given.key else Record(key="/")
    dead = mark([death for death in record.deaths if death.event != given.event.id])
    outbox = tuple(intent for intent in record.outbox if not _asked_by(intent, given.event))
    if (dead, outbox) != (record.dead, record.outbox):
        ward.store.commit(msgspec.structs.replace(record, dead=dead, outbox=outbox))
    ward.operations.discard(given.event.id, given.service)


def _marked(ward: Ward) -> list[Given]:
    """Dead records, also those whose letter is none any more."""
    found = []
    for service, death in _deaths(ward):
        event = ward.bus.event(death.event)
        if event is not None:
            found.append(_given(ward, event, service, (death.cause, 0, death.at)))
    return [msgspec.structs.replace(given, letter=False) for given in found]


def _deaths(ward: Ward) -> Iterator[tuple[str, Dead]]:
    for kind, service in owners(ward.services).items():
        for record in every_record(ward.store, kind):
            for death in record.deaths:
                yield service.name, death


def _given(ward: Ward, event: Event, service: str, end: tuple[str, int, datetime]) -> Given:
    cause, attempts, at = end
    record = _record(ward, event, service)
    return Given(
        event=event,
        service=service,
        cause=cause,
        attempts=attempts,
        at=at,
        letter=True,
        key=record.key if record else "",
        status=record.status if record else "",
        dead=bool(record and record.dead),
        owes=tuple(i.effect for i in record.outbox if isinstance(i, Do) and i.cause == event.id)
        if record
        else (),
    )


def _record(ward: Ward, event: Event, service: str) -> Record | None:
    if service not in ward.services:
        return None
    try:
        key = ward.services[service].key(event)
    except (KuzniaError, LookupError):  # its payload may be just what it died of
        return None
    return ward.store.load(key) if key else None


def _asked_by(intent: object, event: Event) -> bool:
    return isinstance(intent, Do) and intent.cause == event.id
