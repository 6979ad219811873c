"""The bus on Pub/Sub: it carries events to where they are heard; the ledger in Firestore says what is to be done.

A message only says that its lane (a service and a subject) has work: what comes next there is asked of the
ledger, and lent by compare-and-set. So order holds across topics, twice is once, and nothing hangs on a message
alone: what is due and was not heard of is looked for every half minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from events.envelope import EnvelopeError, Event
from shared.errors import KuzniaError, Retry
from shared.google import message as messages
from shared.google.bells import Bells
from shared.google.documents import lane_of
from shared.google.ledger import Ledger
from shared.google.lending import ELSEWHERE_SECONDS, Lending, lane
from shared.google.lookout import LOOK_SECONDS, Lookout
from shared.google.publisher import Publisher
from shared.google.room import Lane, Message, Room, Wait
from shared.google.streams import Callback, Streams
from shared.google.topics import Topics, dead_name, subscription_name
from shared.ports.bus import DeadLetter, Delivery, Logged, Query

log = logging.getLogger("kuznia.google")
OVERDUE_SECONDS = 60.0  # due for so long, its message may be lost


class Carriers(msgspec.Struct, frozen=True, kw_only=True):
    """What carries events. topics: makes what is missing; None where Terraform has made all."""

    publisher: Publisher
    topics: Topics | None
    open_streams: Callable[[Callback], Streams]


class PubSubBus:
    """See `shared.ports.bus.Bus`. services: whose deliveries are lent here; empty means everybody's."""

    def __init__(
        self,
        ledger: Ledger,
        carriers: Carriers,
        lease_seconds: float = 60,
        services: Sequence[str] = (),
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._ledger = ledger
        self._carriers = carriers
        self._lending = Lending(ledger, lease_seconds)
        self._services = services
        self._room = Room()
        self._lookout = Lookout(ledger, self._room, self._claim_reserved, look_seconds)
        self._bells = Bells(ledger, carriers.publisher.publish)
        self._lock = threading.Lock()
        self._streams: Streams | None = None
        self._stopping = threading.Event()
        self._closed = False

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        """See `Bus.subscribe`."""
        self._require_open()
        heard = list(names)
        if self._carriers.topics:
            self._carriers.topics.make_subscriptions(service, heard)
        self._ledger.subscribe(service, heard)
        if self._streams:
            self._listen()

    def publish(self, events: Sequence[Event]) -> None:
        """See `Bus.publish`. What is known already is carried again all the same: its first way may have failed.

        Raises Reject for what Pub/Sub would refuse: in the ledger it would wait for ever for a message.
        """
        self._require_open()
        for event in events:
            messages.require_carriable(event)
        if events:
            self._ledger.append(events)
            self._carriers.publisher.publish(events)

    def lease(self, limit: int, wait: float) -> Sequence[Delivery]:
        """See `Bus.lease`."""
        self._require_open()
        if self._stopping.is_set():
            return []
        if self._streams is None:
            self._listen()
        if wait <= 0:
            return self._look(limit)
        return self._wait_for(limit, time.monotonic() + wait)

    def stop_leasing(self) -> None:
        """See `Bus.stop_leasing`."""
        self._stopping.set()
        self._room.release()

    def claim(self, service: str, event: Event) -> Delivery | Wait | None:
        """What is next in the lane of an event that was pushed here. Raises Retry."""
        self._require_open()
        return self._lending.claim((service, lane_of(event)))

    def extend(self, delivery: Delivery) -> bool:
        """Lend it for another while. False where the lease counts no more."""
        return self._lending.extend(delivery)

    def ack(self, delivery: Delivery) -> bool:
        """See `Bus.ack`."""
        self._require_open()
        with self._settling(delivery) as current:
            counted = self._ledger.finish(current)
        return self._settled(delivery, counted)

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        """See `Bus.retry`."""
        self._require_open()
        due = datetime.now(UTC) + timedelta(seconds=after)
        with self._settling(delivery) as current:
            put_off = self._ledger.put_off(current, due, error)
        message = self._lending.let_go(delivery)
        if message:
            self._room.put(lane(delivery), message, after)
        else:
            self._expect(lane(delivery), after)
        return put_off

    def bury(self, delivery: Delivery, cause: str) -> bool:
        """See `Bus.bury`."""
        self._require_open()
        with self._settling(delivery) as current:
            counted = self._ledger.bury(current, cause)
        return self._settled(delivery, counted)

    def log(self, query: Query) -> Sequence[Logged]:
        """See `Bus.log`."""
        self._require_open()
        return self._ledger.log(query)

    def event(self, event_id: str) -> Event | None:
        """See `Bus.event`."""
        self._require_open()
        return self._ledger.event(event_id)

    def dead_letters(self, limit: int = 1000) -> Sequence[DeadLetter]:
        """See `Bus.dead_letters`."""
        self._require_open()
        return self._ledger.dead_letters(limit)

    def redrive(self, event_id: str, service: str) -> bool:
        """See `Bus.redrive`."""
        self._require_open()
        events = self._ledger.redrive(event_id, service)
        self._carriers.publisher.publish(events)
        return bool(events)

    def resend(self, services: Iterable[str], overdue_seconds: float = OVERDUE_SECONDS) -> int:
        """Publish once more for each lane whose work has been due for so long, as its message may be lost; how many.

        For services that are pushed to, which cannot look for themselves.
        """
        self._require_open()
        return self._bells.ring(services, overdue_seconds)

    def expire_leases(self) -> None:
        """Nothing: others may be at work, so what a dead process had is lent again once its lease runs out."""

    def pending(self) -> int:
        """How many deliveries are still to be done."""
        self._require_open()
        return self._ledger.pending()

    def close(self) -> None:
        """Give back what waits here, send off what was acknowledged or said, and end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self.stop_leasing()
        self._room.close()
        if self._streams:
            self._streams.close()
        self._carriers.publisher.close()

    def _listen(self) -> Sequence[str]:
        """Open what streams are not yet open; the services whose deliveries are lent here."""
        routes = self._ledger.routes()
        heard = {(service, name) for name, services in routes.items() for service in services}
        services = sorted(self._services or {service for service, _ in heard})
        names = {subscription_name(service, name) for service, name in heard if service in services}
        with self._lock:
            if self._streams is None and not self._closed:
                self._streams = self._carriers.open_streams(self._arrived)
        if self._streams:
            self._streams.open(sorted(names | {dead_name(service) for service in services}))
        return services

    def _arrived(self, subscription: str, message: Any) -> None:
        """Called by the streams. What is no event of ours can never be handled, so it is not kept."""
        try:
            event = messages.read(message.attributes, message.data)
        except EnvelopeError as error:
            log.error("%s was sent a message that is no event of ours: %s", subscription, error)
            message.ack()
            return
        self._room.put((subscription.split(".", 1)[0], lane_of(event)), message)

    def _wait_for(self, limit: int, deadline: float) -> Sequence[Delivery]:
        while not self._stopping.is_set():
            lent = self._from_messages(limit) or (self._look(limit) if self._lookout.until() <= 0 else [])
            left = deadline - time.monotonic()
            if lent or left <= 0:
                return lent
            self._room.wait(max(0.0, min(left, self._lookout.until())))
        return []

    def _from_messages(self, limit: int) -> list[Delivery]:
        lent: list[Delivery] = []
        while len(lent) < limit and (found := self._room.take()):
            delivery = self._claim_reserved(found)
            lent += [delivery] if delivery else []
        return lent

    def _look(self, limit: int) -> list[Delivery]:
        """What is due by what the ledger says; should streams have kept silent about it, they are opened again."""
        lent = self._lookout.look(self._listen(), limit)
        if self._lookout.unheard and self._streams:
            self._streams.suspect(f"{self._lookout.unheard} lanes had work that no message told of")
        return lent

    def _claim_reserved(self, found: Lane) -> Delivery | None:
        """Lend the first of a lane that the room keeps for us, and say when another look is worth it."""
        before, after = self._room.messages(found), ELSEWHERE_SECONDS
        try:
            claimed = self._lending.claim(found)
            if claimed is None:
                self._room.drop(found, before)
                after = 0
            elif isinstance(claimed, Wait):
                after = claimed.seconds
            else:
                self._lending.attach(claimed, self._room.pop(found))
                after = self._lending.lease_seconds
                self._lookout.within(after)
                return claimed
        finally:
            self._room.done(found, after=after)
        return None

    def _settled(self, delivery: Delivery, counted: bool) -> bool:
        """Its message is done with, unless the lease had run out; without one, what comes next may have none either."""
        message: Message | None = self._lending.let_go(delivery)
        if message and counted:
            message.ack()
            self._room.wake(lane(delivery))
        elif message:
            self._room.put(lane(delivery), message)
        else:
            self._expect(lane(delivery))
        return counted

    def _expect(self, where: Lane, after: float = 0) -> None:
        """Where events are only pushed, nobody would ever look, and what is noted would stay."""
        if self._streams:
            self._room.expect(where, after)

    @contextmanager
    def _settling(self, delivery: Delivery) -> Iterator[Delivery]:
        """What could not be written comes again once its lease is over; its message must not be kept until then."""
        try:
            with self._lending.current(delivery) as current:
                yield current
        except KuzniaError:
            message = self._lending.let_go(delivery)
            if message:
                message.nack()
            raise

    def _require_open(self) -> None:
        if self._closed:
            raise Retry("the bus on Pub/Sub is closed")
