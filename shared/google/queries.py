"""Every query we ask of Firestore, in one place: `infra/firestore.indexes.json` is tested against these."""

from __future__ import annotations

from datetime import UTC, datetime

from google.cloud.firestore import Client
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.query import Query as FirestoreQuery

from shared.ports.bus import Query

RECORDS, EVENTS, DELIVERIES, DEAD = "records", "events", "deliveries", "dead"
DECISIONS, NOTES, SUBSCRIPTIONS = "decisions", "notes", "subscriptions"
LAST = "\U0010ffff"
LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_SLOT_BITS = 12  # below the millisecond: the place within one commit, and whose commit
SLOTS = 1 << _SLOT_BITS


def position(at: datetime, slot: int) -> int:
    """The place in the log as one number below 2^53: the server's millisecond, then the slot within it."""
    return (round(at.timestamp() * 1000) << _SLOT_BITS) | slot


def place(position: int) -> dict[str, object]:
    """The inverse, as the fields that a cursor wants."""
    at = datetime.fromtimestamp((position >> _SLOT_BITS) / 1000, UTC)
    return {"at": at, "slot": position % SLOTS}


def records(client: Client, first: str, after: str, status: str, limit: int) -> FirestoreQuery:
    """Records in order of key. first: what their keys begin with. after: key to go on from, exclusive."""
    query = client.collection(RECORDS)
    if status:
        query = _where(query, "status", "==", status)
    start, operator = (after, ">") if after >= first else (first, ">=")
    query = _where(_where(query, "key", operator, start), "key", "<", first + LAST)
    return query.order_by("key").limit(limit)


def owing(client: Client, before: datetime, limit: int) -> FirestoreQuery:
    """Records that owe something since before that moment, the quietest first."""
    return _where(client.collection(RECORDS), "owes_since", "<", before).order_by("owes_since").limit(limit)


def changed(client: Client) -> FirestoreQuery:
    """The record that was written last."""
    return client.collection(RECORDS).order_by("changed", direction="DESCENDING").limit(1)


def lane_head(client: Client, service: str, lane: str) -> FirestoreQuery:
    """The first delivery of a service that is still to be done in a lane."""
    query = _where(_where(client.collection(DELIVERIES), "service", "==", service), "lane", "==", lane)
    return query.order_by("at").order_by("slot").limit(1)


def due(client: Client, service: str, now: datetime, limit: int) -> FirestoreQuery:
    """Deliveries of a service whose time has come, the longest waiting first."""
    query = _where(client.collection(DELIVERIES), "service", "==", service)
    return _where(query, "due", "<=", now).order_by("due").limit(limit)


def due_later(client: Client, service: str, now: datetime) -> FirestoreQuery:
    """The delivery of a service that will be due first."""
    query = _where(client.collection(DELIVERIES), "service", "==", service)
    return _where(query, "due", ">", now).order_by("due").limit(1)


def waiting(client: Client, limit: int) -> FirestoreQuery:
    """Deliveries of all services, those that are due first."""
    return client.collection(DELIVERIES).order_by("due").limit(limit)


def log(client: Client, query: Query) -> FirestoreQuery:
    """Events of the log."""
    direction = "DESCENDING" if query.newest else "ASCENDING"
    found = client.collection(EVENTS)
    equals = {"name": query.name, "subject": query.subject}
    for field, value in equals.items():
        if value:
            found = _where(found, field, "==", value)
    if query.since:
        found = _where(found, "time", ">=", query.since)
    if query.until:
        found = _where(found, "time", "<", query.until)
    found = found.order_by("at", direction=direction).order_by("slot", direction=direction)
    if query.after:
        found = found.start_after(place(query.after))
    return found.limit(query.limit)


def event(client: Client, event_id: str) -> FirestoreQuery:
    """Events of an id, whatever their source."""
    return _where(client.collection(EVENTS), "id", "==", event_id).limit(1)


def events_from(client: Client, prefix: str, limit: int) -> FirestoreQuery:
    """Events whose id begins so."""
    query = _where(client.collection(EVENTS), "id", ">=", prefix)
    return _where(query, "id", "<", prefix + LAST).order_by("id").limit(limit)


def dead(client: Client, limit: int) -> FirestoreQuery:
    """Dead letters, the oldest first."""
    return client.collection(DEAD).order_by("buried").limit(limit)


def dead_of(client: Client, service: str, event_id: str) -> FirestoreQuery:
    """Dead letters of one event for one service."""
    return _where(_where(client.collection(DEAD), "service", "==", service), "id", "==", event_id)


def decisions(client: Client, event: str, key: str) -> FirestoreQuery:
    """Decisions over an event, or of a record, in the order they were made."""
    field, value = ("event", event) if event else ("key", key)
    return _where(client.collection(DECISIONS), field, "==", value).order_by("at").order_by("slot")


def causes(client: Client) -> FirestoreQuery:
    """Of every event its id and its cause."""
    return client.collection(EVENTS).select(["id", "cause"])


def notes(client: Client) -> FirestoreQuery:
    """What operators did, in order."""
    return client.collection(NOTES).order_by("at")


def everything(client: Client) -> dict[str, FirestoreQuery]:
    """All there is, by collection, each in its order."""
    placed = {name: client.collection(name).order_by("at").order_by("slot") for name in (EVENTS, DECISIONS)}
    orders = {RECORDS: "key", DELIVERIES: "due", DEAD: "buried", NOTES: "at"}
    return placed | {name: client.collection(name).order_by(field) for name, field in orders.items()}


def subscriptions(client: Client) -> FirestoreQuery:
    """Who hears what, by name of the event."""
    return client.collection(SUBSCRIPTIONS).limit(1000)


def _where(query: FirestoreQuery, field: str, operator: str, value: object) -> FirestoreQuery:
    return query.where(filter=FieldFilter(field, operator, value))
