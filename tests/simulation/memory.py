"""Bus, store and artifacts in memory, with the semantics of `shared.ports` and no faults of their own.

`test_memory.py` holds them against the SQLite adapters, operation by operation: that is what makes what the
simulator says about the platform worth something.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from events.envelope import Event
from shared.errors import Conflict, Reject
from shared.identity import content_digest
from shared.lifecycle import guard
from shared.ports.artifacts import Stored
from shared.ports.bus import DeadLetter, Delivery, Logged, Query
from shared.record import Record

Seconds = Callable[[], float]


class Entry:
    """A delivery still to be done. due: when it may be lent (again), wall seconds."""

    __slots__ = ("attempts", "due", "event", "lease", "number", "position", "service")

    def __init__(self, position: int, number: int, service: str, event: Event, due: float) -> None:
        self.position = position
        self.number = number
        self.service = service
        self.event = event
        self.due = due
        self.lease = ""
        self.attempts = 0

    def __lt__(self, other: Entry) -> bool:
        return (self.position, self.number) < (other.position, other.number)


class MemoryBus:
    """See `shared.ports.bus.Bus`; `lease` never waits. now: wall seconds. choose: which of the due ones."""

    def __init__(self, seconds: Seconds, moment: Callable[[], datetime], lease_seconds: float = 60) -> None:
        self._seconds = seconds
        self._moment = moment
        self.lease_seconds = lease_seconds
        self.events: list[Event] = []
        self.changed: Callable[[], None] = lambda: None
        self.pause: Callable[[], float] = lambda: 0.0  # a delay fault: how long after the publish it is due
        self.repeated: Callable[[], bool] = lambda: False  # a duplicate fault
        self.concerns: Callable[[str, Event], bool] = lambda _service, _event: True  # who would do nothing
        self._known: dict[tuple[str, str], int] = {}
        self._by_id: dict[str, Event] = {}
        self._hearers: dict[str, list[str]] = {}
        self._queues: dict[tuple[str, str], list[Entry]] = {}
        self._lent: dict[str, Entry] = {}
        self._dead: dict[tuple[str, str], DeadLetter] = {}
        self._numbers = 0

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        for name in names:
            hearers = self._hearers.setdefault(name, [])
            if service not in hearers:
                hearers.append(service)

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            if (event.source, event.id) in self._known:
                continue
            self.events.append(event)
            self._known[event.source, event.id] = len(self.events)
            self._by_id.setdefault(event.id, event)
            self.deliver(event)
        self.changed()

    def deliver(self, event: Event) -> None:
        """Hand a logged event to all who hear it, as at first; what was dead of it stays dead."""
        for service in self._hearers.get(event.name, ()):
            if not self.concerns(service, event):
                continue
            self._add(service, event, self._seconds() + self.pause())
            if self.repeated():
                self._add(service, event, self._seconds() + self.pause())

    def redeliver(self, event: Event, to: Iterable[tuple[str, str]]) -> None:
        """A replay: hand a logged event again to those services of (service, event id) that had it."""
        for service in self._hearers.get(event.name, ()):
            if (service, event.id) in to:
                self._add(service, event, self._seconds())

    def lease(self, limit: int, wait: float = 0) -> Sequence[Delivery]:
        return [self.lend(entry) for entry in sorted(self.due(), key=lambda entry: entry.due)[:limit]]

    def due(self) -> list[Entry]:
        """The first of each subject that may be lent now, in no order that means anything."""
        now = self._seconds()
        return [entry for queue in self._queues.values() if (entry := queue[0]).due <= now]

    def lend(self, entry: Entry) -> Delivery:
        self._numbers += 1
        self._lent.pop(entry.lease, None)
        entry.lease = f"lease-{self._numbers}"
        entry.due = self._seconds() + self.lease_seconds
        entry.attempts += 1
        self._lent[entry.lease] = entry
        return Delivery(event=entry.event, service=entry.service, lease=entry.lease, attempt=entry.attempts)

    def ack(self, delivery: Delivery) -> bool:
        return self._struck_off(delivery) is not None

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        entry = self._lent.pop(delivery.lease, None)
        if entry is None:
            return False
        entry.lease, entry.due = "", self._seconds() + after
        self.changed()
        return True

    def bury(self, delivery: Delivery, cause: str) -> bool:
        entry = self._struck_off(delivery)
        if entry is None:
            return False
        self._dead[entry.service, entry.event.id] = DeadLetter(
            event=entry.event,
            service=entry.service,
            cause=cause,
            attempts=entry.attempts,
            at=self._moment(),
        )
        return True

    def log(self, query: Query) -> Sequence[Logged]:
        found = [
            Logged(position=position, event=event)
            for position, event in enumerate(self.events, start=1)
            if position > query.after
            and query.name in ("", event.name)
            and query.subject in ("", event.subject)
        ]
        return found[: query.limit]

    def event(self, event_id: str) -> Event | None:
        return self._by_id.get(event_id)

    def dead_letters(self, limit: int = 1000) -> Sequence[DeadLetter]:
        return sorted(self._dead.values(), key=lambda letter: letter.at)[:limit]

    def redrive(self, event_id: str, service: str) -> bool:
        letter = self._dead.pop((service, event_id), None)
        if letter is None:
            return False
        self._add(service, letter.event, self._seconds())
        self.changed()
        return True

    def stop_leasing(self) -> None:
        """Nobody waits here."""

    def expire_leases(self) -> None:
        for entry in self._lent.values():
            entry.lease, entry.due = "", self._seconds()
        self._lent.clear()
        self.changed()

    def pending(self) -> list[Entry]:
        return [entry for queue in self._queues.values() for entry in queue]

    def next_due(self) -> float | None:
        """When the next delivery may be lent, wall seconds."""
        return min([queue[0].due for queue in self._queues.values()], default=None)

    def heads(self) -> Iterable[Entry]:
        return (queue[0] for queue in self._queues.values())

    def _add(self, service: str, event: Event, due: float) -> None:
        self._numbers += 1
        entry = Entry(self._known[event.source, event.id], self._numbers, service, event, due)
        queue = self._queues.setdefault((service, event.subject or event.id), [])
        insort(queue, entry)

    def _struck_off(self, delivery: Delivery) -> Entry | None:
        entry = self._lent.pop(delivery.lease, None)
        if entry is None:
            return None
        key = (entry.service, entry.event.subject or entry.event.id)
        queue = self._queues[key]
        queue.remove(entry)
        if not queue:
            del self._queues[key]
        self.changed()
        return entry


class MemoryStore:
    """See `shared.ports.store.Store`. committed: told the record before and after each commit."""

    def __init__(self, committed: Callable[[Record, Record], None] = lambda _old, _new: None) -> None:
        self.records: dict[str, Record] = {}
        self.before: dict[str, Record] = {}  # what a stale reading answers
        self.owed: dict[str, Record] = {}
        self._committed = committed

    def load(self, key: str) -> Record:
        found = self.records.get(key)
        return found if found is not None else Record(key=key)

    def stale(self, key: str) -> Record:
        """The record as it was one commit ago."""
        found = self.before.get(key)
        return found if found is not None else Record(key=key)

    def commit(self, record: Record) -> Record:
        stored = self.load(record.key)
        if stored.revision != record.revision:
            raise Conflict(f"{record.key}: revision is {stored.revision}, not {record.revision}")
        guard(stored, record)
        written = msgspec.structs.replace(record, revision=record.revision + 1)
        self.before[record.key] = stored
        self.records[record.key] = written
        if written.outbox and written.dead is None:
            self.owed[record.key] = written
        else:
            self.owed.pop(record.key, None)
        self._committed(stored, written)
        return written

    def list(
        self, kind: str, *, status: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        start = f"{kind}/{prefix}"
        found = sorted(key for key in self.records if key.startswith(start) and key > after)
        records = (self.records[key] for key in found)
        return [record for record in records if status in ("", record.status)][:limit]

    def owing(self, *, before: datetime, limit: int = 100) -> Sequence[Record]:
        found = [r for r in self.owed.values() if r.updated_at is not None and r.updated_at < before]
        return sorted(found, key=lambda record: str(record.updated_at))[:limit]


class MemoryArtifacts:
    """The part of `shared.ports.artifacts.Artifacts` that effects and pods use."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def write(self, path: str, content: bytes) -> Stored:
        self.files[path] = content
        return Stored(path=path, size=len(content), digest=content_digest(content))

    def create(self, path: str, content: bytes) -> Stored:
        if self.files.get(path, content) != content:
            raise Reject(f"{path} holds other content already; it is written once")
        return self.write(path, content)

    def read(self, path: str) -> bytes:
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def write_digest(self, path: str) -> str:
        """Digest of what lies there, or empty."""
        return content_digest(self.files[path]) if path in self.files else ""

    def list(self, prefix: str) -> Sequence[str]:
        return sorted(path for path in self.files if path.startswith(prefix))

    def delete(self, prefix: str) -> None:
        for path in self.list(prefix):
            del self.files[path]

    def uri(self, path: str) -> str:
        return f"memory:///{path}"

    def local(self, path: str) -> Path | None:
        return None
