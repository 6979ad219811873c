"""What was said, to whom it is still to be delivered, and what was buried: three collections of Firestore.

Pub/Sub carries events; it cannot tell which were said, and forgets what was delivered. The ledger can: an event
and its deliveries are created in one write before the event is published, and a delivery is lent, put off or
struck off by compare-and-set on its update time, which therefore is the lease.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from google.api_core import exceptions as api
from google.cloud import firestore
from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.query import Query as FirestoreQuery
from proto.datetime_helpers import DatetimeWithNanoseconds

from events.envelope import Event
from shared.errors import Conflict, Retry
from shared.google import documents, queries
from shared.google.documents import Ahead
from shared.google.errors import overtaken, reading, repeating
from shared.google.portions import CHUNK, portions
from shared.ports.bus import DeadLetter, Delivery, Logged, Query

RPC_SECONDS = 20.0
CONTENDED = (0.05, 0.2, 0.5)  # seconds between tries where two were in each other's way
_SALTS = 64  # writes of one millisecond, told apart
Routes = Mapping[str, Sequence[str]]


class Ledger:
    """All methods may be called by any thread. They raise Retry where Firestore cannot be had now."""

    def __init__(self, client: firestore.Client) -> None:
        self._client = client
        self._writes = itertools.count()

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        """From now on an event of these names has a delivery for this service."""
        batch = self._client.batch()
        for name in names:
            fields = {"services": firestore.ArrayUnion([service])}
            batch.set(self._client.document(f"{queries.SUBSCRIPTIONS}/{name}"), fields, merge=True)
        self._commit(batch, f"subscriptions of {service}")

    def routes(self) -> Routes:
        """Who hears what."""
        found = self._found(queries.subscriptions(self._client), "subscriptions")
        return {snapshot.id: tuple(snapshot.get("services")) for snapshot in found}

    def append(self, events: Sequence[Event]) -> None:
        """Write each event with its deliveries, once; one whose source and id are known changes nothing."""
        unique: dict[str, Event] = {}
        for event in events:
            unique.setdefault(documents.event_key(event), event)
        fresh = list(unique.values())
        routes = self._routes_of(sorted({event.name for event in fresh}))
        for portion in portions([(event, _cost(event, routes)) for event in fresh]):
            self._append(portion, routes)

    def ahead(self, service: str, lane: str) -> Ahead | None:
        """The first delivery of a lane that is still to be done."""
        found = self._found(queries.lane_head(self._client, service, lane), f"{service}: {lane}")
        return documents.ahead(found[0]) if found else None

    def due(self, service: str, now: datetime, limit: int) -> Sequence[Ahead]:
        """Deliveries whose time has come, whether first of their lane or not, the longest waiting first."""
        found = self._found(queries.due(self._client, service, now, limit), f"{service}: what is due")
        return [documents.ahead(snapshot) for snapshot in found]

    def next_due(self, service: str, now: datetime) -> datetime | None:
        """When the next delivery of a service will be due, put off or lent as it is; None where there is none."""
        found = self._found(queries.due_later(self._client, service, now), f"{service}: what is due later")
        return documents.ahead(found[0]).due if found else None

    def lend(self, ahead: Ahead, until: datetime) -> Delivery | None:
        """Lend it; None where somebody else changed it first."""
        path = documents.delivery_path(ahead.service, ahead.event)
        fields = {"due": until, "attempts": ahead.attempts + 1, "lent": True}
        token = self._update(path, ahead.token, fields)
        if token is None:
            return None
        lease = documents.pack(token, ahead.position)
        return Delivery(event=ahead.event, service=ahead.service, lease=lease, attempt=ahead.attempts + 1)

    def extend(self, delivery: Delivery, until: datetime) -> Delivery | None:
        """Lend it on: the delivery with its new lease, or None where the old one counts no more."""
        token, position = documents.unpack(delivery.lease)
        fresh = self._update(documents.delivery_path(delivery.service, delivery.event), token, {"due": until})
        if fresh is None:
            return None
        return msgspec.structs.replace(delivery, lease=documents.pack(fresh, position))

    def finish(self, delivery: Delivery) -> bool:
        """Strike it off. False where its lease counts no more."""
        return self._commits(self._struck_off(delivery), delivery)

    def put_off(self, delivery: Delivery, due: datetime, error: str) -> bool:
        """Take it back until then."""
        token, _ = documents.unpack(delivery.lease)
        fields = {"due": due, "lent": False, "error": documents.cut(error)}
        return (
            self._update(documents.delivery_path(delivery.service, delivery.event), token, fields) is not None
        )

    def bury(self, delivery: Delivery, cause: str) -> bool:
        """Strike it off and write it among the dead letters, in one."""
        batch = self._struck_off(delivery)
        grave = self._client.document(documents.dead_path(delivery.service, delivery.event))
        batch.set(grave, documents.dead_fields(delivery, cause, datetime.now(UTC)))
        return self._commits(batch, delivery)

    def redrive(self, event_id: str, service: str) -> Sequence[Event]:
        """Make deliveries of dead letters again; the events whose they are."""
        query = queries.dead_of(self._client, service, event_id)
        dead = self._found(query, f"dead letters of {event_id}")
        return [event for snapshot in dead if (event := self._revive(snapshot))]

    def log(self, query: Query) -> Sequence[Logged]:
        """See `Bus.log`."""
        return [documents.logged(s) for s in self._found(queries.log(self._client, query), "the log")]

    def event(self, event_id: str) -> Event | None:
        """See `Bus.event`."""
        found = self._found(queries.event(self._client, event_id), f"event {event_id}")
        return documents.decode(found[0].get("body")) if found else None

    def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """See `Bus.dead_letters`."""
        return [documents.letter(s) for s in self._found(queries.dead(self._client, limit), "dead letters")]

    def pending(self) -> int:
        """How many deliveries are still to be done."""
        with reading("deliveries"):
            ((counted,),) = self._client.collection(queries.DELIVERIES).count().get(timeout=RPC_SECONDS)
        return int(counted.value)

    def _routes_of(self, names: Sequence[str]) -> Routes:
        """Read at each publish: a service that subscribed a moment ago must miss nothing."""
        subscriptions = [self._client.document(f"{queries.SUBSCRIPTIONS}/{name}") for name in names]
        if not subscriptions:
            return {}
        with reading("subscriptions"):
            found = list(self._client.get_all(subscriptions, timeout=RPC_SECONDS))
        return {snapshot.id: snapshot.get("services") for snapshot in found if snapshot.exists}

    def _append(self, events: Sequence[Event], routes: Routes) -> None:
        batch = self._client.batch()
        now, salt = datetime.now(UTC), next(self._writes) % _SALTS
        for index, event in enumerate(events):
            place = {"at": firestore.SERVER_TIMESTAMP, "slot": salt * CHUNK + index}
            due = now + timedelta(microseconds=index)
            batch.create(
                self._client.document(documents.event_path(event)), documents.event_fields(event) | place
            )
            for service in routes.get(event.name, ()):
                delivery = self._client.document(documents.delivery_path(service, event))
                batch.create(delivery, documents.delivery_fields(service, event, due) | place)
        try:
            self._commit(batch, f"saying {', '.join(sorted({event.name for event in events}))}")
        except Conflict:
            for event in events if len(events) > 1 else ():  # one of them is known already
                self._append([event], routes)

    def _revive(self, dead: DocumentSnapshot) -> Event | None:
        event, service = documents.decode(dead.get("body")), dead.get("service")
        batch = self._client.batch()
        batch.delete(dead.reference, option=self._client.write_option(last_update_time=dead.update_time))
        fields = documents.delivery_fields(service, event, datetime.now(UTC))
        fields |= {"at": dead.get("at"), "slot": dead.get("slot")}
        batch.set(self._client.document(documents.delivery_path(service, event)), fields)
        try:
            self._commit(batch, f"redriving {event.name} {event.id}")
        except (Conflict, Retry) as error:
            if not overtaken(error):
                raise
            return None  # somebody else did
        return event

    def _struck_off(self, delivery: Delivery) -> firestore.WriteBatch:
        token, _ = documents.unpack(delivery.lease)
        batch = self._client.batch()
        path = documents.delivery_path(delivery.service, delivery.event)
        batch.delete(self._client.document(path), option=self._unchanged(token))
        return batch

    def _update(self, path: str, token: str, fields: documents.Fields) -> str | None:
        """The new token, or None where the old one counts no more: it was changed, or struck off."""
        batch = self._client.batch()
        batch.update(self._client.document(path), fields, option=self._unchanged(token))
        try:
            (result,) = self._commit(batch, path)
        except (Conflict, Retry) as error:
            if not overtaken(error):
                raise
            return None
        return str(result.update_time.rfc3339())

    def _commits(self, batch: firestore.WriteBatch, delivery: Delivery) -> bool:
        try:
            self._commit(batch, f"{delivery.service}: {delivery.event.name} {delivery.event.id}")
        except (Conflict, Retry) as error:
            if not overtaken(error):
                raise
            return False
        return True

    def _commit(self, batch: firestore.WriteBatch, what: str) -> Sequence[Any]:
        """Raises Conflict, Retry, Reject. Contention is tried again: it has written nothing, and says nothing."""
        for pause in CONTENDED:
            try:
                return self._commit_once(batch, what)
            except Retry as error:
                if not isinstance(error.__cause__, api.Aborted):
                    raise
                time.sleep(pause)
        return self._commit_once(batch, what)

    def _commit_once(self, batch: firestore.WriteBatch, what: str) -> Sequence[Any]:
        with repeating(what):
            return list(batch.commit(timeout=RPC_SECONDS))

    def _found(self, query: FirestoreQuery, what: str) -> Sequence[DocumentSnapshot]:
        with reading(what):
            return list(query.get(timeout=RPC_SECONDS))

    def _unchanged(self, token: str) -> Any:
        return self._client.write_option(last_update_time=DatetimeWithNanoseconds.from_rfc3339(token))


def _cost(event: Event, routes: Routes) -> tuple[int, int]:
    """Documents, and their bytes: the event, and a delivery for each who hears it."""
    count = 1 + len(routes.get(event.name, ()))
    return count, count * documents.size(event)
