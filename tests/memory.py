"""Store, bus and clock in memory: what the reactions need, with nothing to wait for. The clock moves by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from events.envelope import Event
from shared.errors import Conflict
from shared.lifecycle import guard
from shared.ports.bus import DeadLetter, Delivery, Logged, Query
from shared.record import Record

START = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, start: datetime = START) -> None:
        self.moment = start

    def now(self) -> datetime:
        return self.moment

    def move(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class MemoryStore:
    """Records in a dict, through JSON, so that nothing is shared that a real store would not share."""

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        self.commits = 0

    def load(self, key: str) -> Record:
        body = self._bodies.get(key)
        return msgspec.json.decode(body, type=Record) if body else Record(key=key)

    def commit(self, record: Record) -> Record:
        stored = self.load(record.key)
        if stored.revision != record.revision:
            raise Conflict(f"{record.key}: revision is {stored.revision}, not {record.revision}")
        guard(stored, record)
        written = msgspec.structs.replace(record, revision=record.revision + 1)
        self._bodies[record.key] = msgspec.json.encode(written)
        self.commits += 1
        return self.load(record.key)

    def list(
        self, kind: str, *, status: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        keys = sorted(key for key in self._bodies if key.startswith(f"{kind}/{prefix}") and key > after)
        found = [self.load(key) for key in keys]
        return [record for record in found if status in ("", record.status)][:limit]

    def owing(self, *, before: datetime, limit: int = 100) -> Sequence[Record]:
        found = [self.load(key) for key in sorted(self._bodies)]
        return [r for r in found if r.outbox and r.dead is None and r.updated_at and r.updated_at < before][
            :limit
        ]

    def snapshot(self) -> dict[str, Record]:
        """All records, without what only tells of what was heard."""
        found = [self.load(key) for key in sorted(self._bodies)]
        return {
            record.key: msgspec.structs.replace(record, revision=0, inbox=(), updated_at=None)
            for record in found
        }


class _Pending(msgspec.Struct):
    service: str
    event: Event
    due: datetime
    attempts: int = 0
    error: str = ""


class MemoryBus:
    """A log, and deliveries in order by subject within a service."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._names: dict[str, list[str]] = {}
        self.events: list[Event] = []
        self.pending: list[_Pending] = []
        self.dead: list[DeadLetter] = []

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        for name in names:
            services = self._names.setdefault(name, [])
            if service not in services:
                services.append(service)

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            if any((known.source, known.id) == (event.source, event.id) for known in self.events):
                continue
            self.events.append(event)
            for service in self._names.get(event.name, []):
                self.pending.append(_Pending(service, event, self._clock.now()))

    def lease(self, limit: int, wait: float = 0) -> Sequence[Delivery]:
        blocked: set[tuple[str, str]] = set()
        lent = []
        for item in self.pending:
            place = (item.service, item.event.subject or item.event.id)
            if place not in blocked and item.due <= self._clock.now() and len(lent) < limit:
                item.attempts += 1
                lent.append(
                    Delivery(event=item.event, service=item.service, lease="one", attempt=item.attempts)
                )
            blocked.add(place)
        return lent

    def stop_leasing(self) -> None:
        self.pending.clear()

    def ack(self, delivery: Delivery) -> bool:
        item = self._find(delivery)
        self.pending.remove(item)
        return True

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        item = self._find(delivery)
        item.due, item.error = self._clock.now() + timedelta(seconds=after), error
        return True

    def bury(self, delivery: Delivery, cause: str) -> bool:
        item = self._find(delivery)
        self.pending.remove(item)
        letter = DeadLetter(
            event=item.event,
            service=item.service,
            cause=cause,
            attempts=item.attempts,
            at=self._clock.now(),
        )
        self.dead.append(letter)
        return True

    def redrive(self, event_id: str, service: str) -> bool:
        for letter in self.dead:
            if (letter.event.id, letter.service) == (event_id, service):
                self.dead.remove(letter)
                self.pending.insert(0, _Pending(service, letter.event, self._clock.now()))
                return True
        return False

    def event(self, event_id: str) -> Event | None:
        return next((event for event in self.events if event.id == event_id), None)

    def log(self, query: Query) -> Sequence[Logged]:
        found = [Logged(position=index, event=event) for index, event in enumerate(self.events, start=1)]
        return [
            logged
            for logged in found
            if query.name in ("", logged.event.name) and query.subject in ("", logged.event.subject)
        ][: query.limit]

    def dead_letters(self, limit: int = 1000) -> Sequence[DeadLetter]:
        return self.dead[:limit]

    def _find(self, delivery: Delivery) -> _Pending:
        return next(
            item
            for item in self.pending
            if (item.service, item.event.id) == (delivery.service, delivery.event.id)
        )
