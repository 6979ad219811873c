"""The ledger's documents: how events, deliveries and dead letters are written, and found again."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from google.cloud.firestore_v1.base_document import DocumentSnapshot

from events.envelope import Event
from shared.errors import Reject
from shared.google import queries
from shared.ports.bus import DeadLetter, Delivery, Logged

LARGEST = 900_000  # bytes of an event; Firestore takes 1 MiB a document, names and indexed fields included
decode = msgspec.json.Decoder(Event).decode
OVERHEAD = 2_000  # bytes of the other fields of such a document, about
_encode = msgspec.json.Encoder().encode
LONGEST_CAUSE = 20_000  # characters of an error that are kept
Fields = dict[str, Any]


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as it stands. token: its update time (RFC 3339), which a change must match.

    position: of its event. due: when it may be lent; where it is lent, the end of the lease.
    """

    service: str
    event: Event
    position: int
    due: datetime
    lent: bool
    attempts: int
    token: str


def lane_of(event: Event) -> str:
    """What deliveries keep their order by: the subject; an event without one waits for none."""
    return event.subject or f"id:{event.id}"


def event_key(event: Event) -> str:
    """Name of the event's document: source and id make it the same event."""
    return hashlib.sha256(f"{event.source}\n{event.id}".encode()).hexdigest()[:40]


def event_path(event: Event) -> str:
    """Where it is logged."""
    return f"{queries.EVENTS}/{event_key(event)}"


def delivery_path(service: str, event: Event) -> str:
    """Where its delivery to that service is kept while it is to be done."""
    return f"{queries.DELIVERIES}/{service}~{event_key(event)}"


def dead_path(service: str, event: Event) -> str:
    """Where it lies as a dead letter of that service."""
    return f"{queries.DEAD}/{service}~{event_key(event)}"


def size(event: Event) -> int:
    """About how many bytes a document that carries it has."""
    return len(_encode(event)) + OVERHEAD


def cut(text: str) -> str:
    """An error as it is kept: what it begins and ends with."""
    half = LONGEST_CAUSE // 2
    return text if len(text) <= LONGEST_CAUSE else f"{text[:half]}\n…\n{text[-half:]}"


def event_fields(event: Event) -> Fields:
    """An event of the log, without its place. Raises Reject where it is too large."""
    return {
        "id": event.id,
        "source": event.source,
        "name": event.name,
        "subject": event.subject,
        "cause": event.cause,
        "time": event.time,
        "body": _body(event),
    }


def delivery_fields(service: str, event: Event, due: datetime) -> Fields:
    """A delivery that was never begun, without its place."""
    return {
        "service": service,
        "lane": lane_of(event),
        "due": due,
        "attempts": 0,
        "lent": False,
        "error": "",
        "body": _body(event),
    }


def dead_fields(delivery: Delivery, cause: str, at: datetime) -> Fields:
    """A dead letter. at: when it was given up."""
    _, position = unpack(delivery.lease)
    letter = DeadLetter(
        event=delivery.event, service=delivery.service, cause=cut(cause), attempts=delivery.attempt, at=at
    )
    return letter_fields(letter) | queries.place(position)


def letter_fields(letter: DeadLetter) -> Fields:
    """A dead letter, without its place."""
    return {
        "service": letter.service,
        "id": letter.event.id,
        "cause": letter.cause,
        "attempts": letter.attempts,
        "buried": letter.at,
        "body": _body(letter.event),
    }


def ahead(snapshot: DocumentSnapshot) -> Ahead:
    """A delivery as it was read."""
    return Ahead(
        service=snapshot.get("service"),
        event=decode(snapshot.get("body")),
        position=queries.position(snapshot.get("at"), snapshot.get("slot")),
        due=snapshot.get("due"),
        lent=snapshot.get("lent"),
        attempts=snapshot.get("attempts"),
        token=snapshot.update_time.rfc3339(),
    )


def logged(snapshot: DocumentSnapshot) -> Logged:
    """An event of the log as it was read."""
    position = queries.position(snapshot.get("at"), snapshot.get("slot"))
    return Logged(position=position, event=decode(snapshot.get("body")))


def letter(snapshot: DocumentSnapshot) -> DeadLetter:
    """A dead letter as it was read."""
    return DeadLetter(
        event=decode(snapshot.get("body")),
        service=snapshot.get("service"),
        cause=snapshot.get("cause"),
        attempts=snapshot.get("attempts"),
        at=snapshot.get("buried"),
    )


def pack(token: str, position: int) -> str:
    """A lease: all that is needed to settle a delivery without reading it again."""
    return f"{token}/{position}"


def unpack(lease: str) -> tuple[str, int]:
    """Token and position."""
    token, _, position = lease.partition("/")
    return token, int(position)


def _body(event: Event) -> str:
    body = _encode(event)
    if len(body) > LARGEST:
        raise Reject(
            f"{event.name} {event.id} has {len(body)} bytes, and the bus takes {LARGEST}:"
            " keep what is large as an artifact, and say its path"
        )
    return body.decode()
