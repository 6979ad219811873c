"""From a delivery to its end, and the sweep for what nobody delivers: generators, as the reaction itself.

Every outcome has one place: done -> ack; Retry, Conflict, Unknown -> again later; Reject, or too often -> the
dead letters, with the cause in the record as well.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown
from shared.ports.bus import Delivery
from shared.reaction import Call, Now, drain, give_up, react
from shared.record import Record
from shared.service import Service

FIRST_BACKOFF = 0.2
MAX_BACKOFF = 60.0


class Ack(msgspec.Struct, frozen=True):
    """Strike the delivery off."""

    delivery: Delivery


class Again(msgspec.Struct, frozen=True):
    """Deliver it again after so many seconds."""

    delivery: Delivery
    after: float
    error: str


class Bury(msgspec.Struct, frozen=True):
    """Put it to the dead letters."""

    delivery: Delivery
    cause: str


class Owing(msgspec.Struct, frozen=True):
    """Ask the store which records owe something since before that moment."""

    before: datetime


Outcome = Ack | Again | Bury
Handling = Generator[Call | Outcome | Owing, Any, None]


def handle(service: Service, delivery: Delivery, max_attempts: int) -> Handling:
    """React, then say how it ended."""
    try:
        yield from react(service, delivery.event)
    except Reject as error:
        yield Bury(delivery, str(error))
    except (Retry, Conflict, Unknown) as error:
        yield from failed(service, delivery, max_attempts, error)
    else:
        yield Ack(delivery)


def failed(service: Service, delivery: Delivery, max_attempts: int, error: Exception) -> Handling:
    """Again, with growing pauses; after the last attempt into record and dead letters, with the cause."""
    cause = f"{type(error).__name__}: {error}"
    if delivery.attempt < max_attempts:
        yield Again(delivery, backoff(delivery.attempt, error), cause)
        return
    yield from give_up(service, delivery.event, cause)
    yield Bury(delivery, cause)


def backoff(attempt: int, error: Exception) -> float:
    """Seconds until the next attempt: what the error asks for, else doubling from 0.2 s up to a minute."""
    asked: float | None = getattr(error, "after", None)
    return asked if asked is not None else min(MAX_BACKOFF, FIRST_BACKOFF * 2 ** (attempt - 1))


def sweep(services: Mapping[str, Service], quiet_seconds: float) -> Generator[Call | Owing, Any, list[str]]:
    """Drain what records still owe, if they were quiet for so long; what could not be done, a line each.

    After a crash nobody may redeliver the event that put it there; and delayed effects come due.
    """
    owners = {service.owns: service for service in services.values()}
    now: datetime = yield Now()
    records: Sequence[Record] = yield Owing(now - timedelta(seconds=quiet_seconds))
    faults = []
    for record in records:
        if record.kind not in owners:
            continue
        try:
            yield from drain(owners[record.kind], record)
        except KuzniaError as error:
            faults.append(f"{record.key}: {type(error).__name__}: {error}")
    return faults
