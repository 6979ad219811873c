"""The courier: posts the deliveries that are due, each subscriber's one after another, subscribers side by side.

It stands apart from the reactions, because a receiver may take half a minute to fail, for days on end; and because
a thousand deliveries that wait would crowd out what the sweep has to drain.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec

from events.envelope import Event, to_structured_json
from services.outbound.addresses import allowed_networks
from services.outbound.outcome import GONE, Result, after, due
from services.outbound.post import Message, Post, Poster
from shared import standard_webhooks
from shared.errors import Conflict, KuzniaError
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.record import Record
from shared.secrets import valid
from shared.settings import Settings

THREADS = 8
PAUSE_SECONDS = 1.0
WAITING_SECONDS = 10.0
PAGE = 500
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
log = logging.getLogger("kuznia.outbound")


class Events(Protocol):
    """The part of a bus that is needed."""

    def event(self, event_id: str) -> Event | None:
        """One event of the log by its id."""
        ...


class Courier:
    """Posts what is due. `run` for a thread of its own; `round` once.

    Several couriers do no harm: each delivery has one id, by which receivers know it again.
    """

    def __init__(
        self,
        store: Store,
        events: Events,
        clock: Clock,
        post: Post,
        secrets: Callable[[str], tuple[bytes, ...]],
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._post = post
        self._secrets = secrets
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="courier")
        self._busy: dict[str, Future[int]] = {}
        self._look_at_waiting = datetime.min.replace(tzinfo=UTC)
        self._stop = threading.Event()

    def run(self) -> None:
        """Until `close`."""
        while not self._stop.wait(PAUSE_SECONDS):
            try:
                self.begin()
            except KuzniaError as error:
                log.error("the courier could not look for deliveries: %s", error)

    def round(self) -> int:
        """Post all that is due now; how many were posted. Raises what the store raises."""
        self._look_at_waiting = self._clock.now()
        self.begin()
        futures = list(self._busy.values())
        wait(futures)
        return sum(future.result() for future in futures)

    def begin(self) -> None:
        """Start posting what is due, to those to whom nothing is being posted."""
        for name in [name for name, future in self._busy.items() if future.done()]:
            error = self._busy.pop(name).exception()
            if error is not None:
                log.error("what was due to %s could not all be posted", name, exc_info=error)
        for subscriber, deliveries in self._due().items():
            if subscriber not in self._busy:
                self._busy[subscriber] = self._pool.submit(self._bring, subscriber, deliveries)

    def close(self) -> None:
        """Finish the attempts in hand; what is left waits in the store."""
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def _due(self) -> dict[str, list[Record]]:
        """By subscriber, in the order in which it happened."""
        now = self._clock.now()
        found: dict[str, list[Record]] = defaultdict(list)
        statuses = ["PENDING"]
        if now >= self._look_at_waiting:  # they are many where a receiver is down for long
            statuses.append("WAITING")
            self._look_at_waiting = now + timedelta(seconds=WAITING_SECONDS)
        for status in statuses:
            for delivery in _pages(self._store, status):
                if due(delivery, now):
                    found[delivery.data["subscriber"]].append(delivery)
        for deliveries in found.values():
            deliveries.sort(key=lambda delivery: str(delivery.data["time"]))
        return found

    def _bring(self, name: str, deliveries: list[Record]) -> int:
        """What the store cannot keep is posted again later: the id says that it is the same."""
        posted = 0
        for delivery in deliveries:
            if self._stop.is_set():
                break
            try:
                posted += self._attempt(name, delivery)
            except KuzniaError as error:
                log.error("%s: what became of it could not be kept: %s", delivery.key, error)
                break
        return posted

    def _attempt(self, name: str, delivery: Record) -> int:
        subscriber = self._store.load(f"subscribers/{name}")
        event = self._events.event(delivery.data["event"])
        secrets = self._secrets(name)
        why_not = _why_not(subscriber, event, secrets)
        now = self._clock.now()
        if event is None or why_not:
            self._keep(delivery, Result(error=why_not, hopeless=True), now)
            return 0
        result = self._post(message(subscriber.data["url"], event, secrets, now))
        self._keep(delivery, result, self._clock.now())
        if result.status == GONE:
            self._gone(subscriber)
        return 1

    def _keep(self, delivery: Record, result: Result, now: datetime) -> None:
        try:
            written = self._store.commit(after(delivery, result, now))
        except Conflict:
            log.info("%s: somebody else wrote it meanwhile, and what they wrote stands", delivery.key)
            return
        if written.status != "DELIVERED":
            log.warning("%s is %s: %s", written.key, written.status, result.error)

    def _gone(self, subscriber: Record) -> None:
        """410: whoever listened there asks not to be told any more."""
        data = {**subscriber.data, "reason": "it answered 410 Gone"}
        changed = msgspec.structs.replace(subscriber, status="GONE", data=data, updated_at=self._clock.now())
        try:
            self._store.commit(changed)
        except Conflict:
            log.info("%s was changed while it answered 410", subscriber.key)


def courier(
    store: Store, events: Events, clock: Clock, settings: Settings, environ: Mapping[str, str]
) -> Courier:
    """One that posts to the open Internet, and to the networks of KUZNIA_WEBHOOKS_ALLOW. Raises SettingsError."""
    post = Poster(allowed_networks(environ))
    return Courier(store, events, clock, post, secrets_of(settings.home, clock))


def message(url: str, event: Event, secrets: tuple[bytes, ...], now: datetime) -> Message:
    """The event as a CloudEvent in structured mode, signed as Standard Webhooks say; the id is the event's."""
    body = to_structured_json(event)
    stamp = standard_webhooks.sign(event.id, int(now.timestamp()), body, secrets)
    headers = {
        "content-type": CONTENT_TYPE,
        "user-agent": "kuznia",
        "webhook-id": stamp.id,
        "webhook-timestamp": stamp.timestamp,
        "webhook-signature": stamp.signatures,
    }
    return Message(url=url, headers=headers, body=body)


def secrets_of(home: Path, clock: Clock) -> Callable[[str], tuple[bytes, ...]]:
    """A subscriber's secrets that hold now, by its name."""
    return lambda name: valid(home, secret_name(name), clock.now())


def secret_name(subscriber: str) -> str:
    """Under which its secret lies."""
    return f"subscriber-{subscriber}"


def _why_not(subscriber: Record, event: Event | None, secrets: tuple[bytes, ...]) -> str:
    if subscriber.status != "ACTIVE":
        return f"the subscriber is {subscriber.status or 'unknown'}"
    if event is None:
        return "the log no longer has the event"
    return "" if secrets else "the subscriber's secret is not there: `kuznia webhooks rotate` makes a new one"


def _pages(store: Store, status: str) -> list[Record]:
    found: list[Record] = []
    after_key = ""
    while page := store.list("deliveries", status=status, after=after_key, limit=PAGE):
        found += page
        after_key = page[-1].key
    return found
