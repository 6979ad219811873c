"""THE loop: decide once, commit, drain.

A crash anywhere leads to redelivery. The inbox makes `decide` happen once; the outbox makes what it asked for
happen at least once; deterministic names make at-least-once harmless. Written as a generator over port
calls, so that production runs it under a ten-line driver and the simulator stops it at every one of them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from events.catalog import PayloadError, UnknownEventError, decode, encode, name_of
from events.envelope import Event
from shared.errors import Conflict, KuzniaError, Reject, Retry
from shared.identity import event_id
from shared.record import Dead, Do, Record, Say, mark
from shared.service import Decision, Service, Speech

MAX_CONFLICTS = 20
MOST_DEATHS = 50  # told in one record; all of them lie among the dead letters


class Now(msgspec.Struct, frozen=True):
    """Ask what time it is."""


class Load(msgspec.Struct, frozen=True):
    """Ask the store for a record."""

    key: str


class Commit(msgspec.Struct, frozen=True):
    """Compare-and-set a record; answers with it as written."""

    record: Record


class Publish(msgspec.Struct, frozen=True):
    """Make events durable on the bus."""

    events: tuple[Event, ...]


class Perform(msgspec.Struct, frozen=True):
    """Perform an effect; answers with what is to be said of it."""

    service: str
    do: Do
    record: Record


Call = Now | Load | Commit | Publish | Perform
Reaction = Generator[Call, Any, Record | None]
Step = Generator[Call, Any, Record]


def react(service: Service, event: Event) -> Reaction:
    """Let a service hear an event. Raises Retry, Reject or Unknown; each leaves all consistent."""
    key = _addressed(service, event)
    if key is None:
        return None
    record = yield from _decide_once(service, key, event)
    return (yield from drain(service, record, event.id))


def drain(service: Service, record: Record, heard: str = "") -> Step:
    """Say and do what the record owes and is due, then strike it off.

    What was done before an error is struck off all the same. An effect that can never succeed (Reject) makes
    the record dead, with its cause, and holds back no other. heard: id of the event at hand; a Reject of what
    another event asked for is told in the record, and not raised.
    """
    now = yield Now()
    done: list[str] = []
    try:
        yield from _say(record, done)
        refused = yield from _do(service, record, now, done)
    except KuzniaError:
        yield from _settle(record, done)
        raise
    if not refused:
        return (yield from _settle(record, done, lives=True))
    first, error = refused[0]
    settled = yield from _settle(record, done, Dead(event=first.cause, cause=str(error), at=now))
    for intent, error in refused:
        if heard in ("", intent.cause):
            raise error
    return settled


def give_up(service: Service, event: Event, cause: str) -> Reaction:
    """Write into the record that this event could not be handled, so that nobody has to search for why."""
    key = _addressed(service, event)
    if key is None:
        return None
    dead = Dead(event=event.id, cause=cause, at=(yield Now()))
    while True:
        record: Record = yield Load(key)
        if record.revision == 0 or event.id in record.unheard or _is_done(record, dead):
            return None  # it is told already; and an attempt that was thought lost may have done it all
        try:
            written: Record = yield Commit(msgspec.structs.replace(record, dead=_with(record, dead)))
        except Conflict:
            continue
        return written


def _with(record: Record, death: Dead) -> Dead | None:
    """The record's mark with one more; what it was dead of before is not forgotten while it is unheard."""
    unheard = [known for known in record.deaths if known.event not in record.inbox]
    return mark([*unheard, death][:MOST_DEATHS])


def _is_done(record: Record, death: Dead) -> bool:
    """It was decided, and nothing that it asked for is owed but what is not due yet."""
    owed = (i for i in record.outbox if isinstance(i, Say) or _is_due(i, death.at))
    causes = (i.event.cause if isinstance(i, Say) else i.cause for i in owed)
    return death.event in record.inbox and death.event not in causes


def _is_due(intent: Do, now: datetime) -> bool:
    return intent.not_before is None or intent.not_before <= now


def _addressed(service: Service, event: Event) -> str | None:
    """The record an event is for. Raises Reject where its payload is none: no key could be read from it."""
    try:
        decode(event)
    except (PayloadError, UnknownEventError) as error:
        raise Reject(str(error)) from error
    return service.key(event)


def _decide_once(service: Service, key: str, event: Event) -> Step:
    for _ in range(MAX_CONFLICTS):
        record: Record = yield Load(key)
        if event.id in record.inbox:
            return record
        now = yield Now()
        decision = yield from _decided(service, record, event, now)
        if decision is None:
            if record.revision == 0:
                return record
            decision = Decision(
                status=record.status, data=record.data
            )  # heard, so that a replay changes nothing
        try:
            written: Record = yield Commit(_applied(service, record, event, decision, now))
        except Conflict:
            continue
        return written
    raise Retry(f"{key}: other writers were faster {MAX_CONFLICTS} times")


def _decided(
    service: Service, record: Record, event: Event, now: datetime
) -> Generator[Call, Any, Decision | None]:
    """What the service decides. A redriven event that is refused now is nothing to be dead of."""
    try:
        return service.decide(record, event, now)
    except Reject:
        if event.id in record.unheard:
            yield Commit(msgspec.structs.replace(record, dead=record.still_dead(event.id)))
        raise


def _applied(service: Service, record: Record, event: Event, decision: Decision, now: datetime) -> Record:
    says = tuple(Say(speak(service, speech, event, now)) for speech in decision.says)
    wishes = tuple(
        Do(
            id=event_id(event.id, f"do-{wish.effect}", f"{record.key}/{index}"),
            effect=wish.effect,
            arguments=wish.arguments,
            cause=event.id,
            traceparent=event.traceparent,
            not_before=now + timedelta(seconds=wish.delay) if wish.delay else None,
        )
        for index, wish in enumerate(decision.wishes)
    )
    return msgspec.structs.replace(
        record,
        status=decision.status,
        data=decision.data,
        inbox=(*record.inbox, event.id),
        outbox=(*record.outbox, *says, *wishes),
        dead=record.still_dead(event.id),
        created_at=record.created_at or now,
        updated_at=now,
    )


def speak(service: Service, speech: Speech, cause: Event | Do, now: datetime) -> Event:
    """The event of a speech; its id follows from the cause, so that saying it twice is saying it once."""
    name = name_of(speech.payload)
    return Event(
        id=event_id(cause.id, name, speech.subject),
        name=name,
        source=service.source,
        subject=speech.subject,
        time=now,
        data=encode(speech.payload),
        traceparent=cause.traceparent,
        cause=cause.cause if isinstance(cause, Do) else cause.id,
    )


def _say(record: Record, done: list[str]) -> Generator[Call, Any, None]:
    says = [intent for intent in record.outbox if isinstance(intent, Say)]
    if says:
        yield Publish(tuple(say.event for say in says))
        done.extend(say.id for say in says)


def _do(
    service: Service, record: Record, now: datetime, done: list[str]
) -> Generator[Call, Any, list[tuple[Do, Reject]]]:
    """Those that can never succeed, with what was said of them."""
    refused = []
    for intent in record.outbox:
        if isinstance(intent, Say) or not _is_due(intent, now):
            continue
        try:
            speeches: Sequence[Speech] = yield Perform(service.name, intent, record)
        except Reject as error:
            refused.append((intent, error))
            continue
        if speeches:
            yield Publish(tuple(speak(service, speech, intent, now) for speech in speeches))
        done.append(intent.id)
    return refused


def _settle(record: Record, done: Sequence[str], dead: Dead | None = None, *, lives: bool = False) -> Step:
    """Strike off what was done. lives: all that is due was done, so what it died of was done after all."""
    while True:
        outbox = tuple(intent for intent in record.outbox if intent.id not in done)
        known = None if lives and not record.unheard else record.dead
        told = _with(record, dead) if dead else known
        if len(outbox) == len(record.outbox) and told == record.dead:
            return record
        settled = msgspec.structs.replace(record, outbox=outbox, dead=told)
        try:
            written: Record = yield Commit(settled)
        except Conflict:
            record = yield Load(record.key)
        else:
            return written
