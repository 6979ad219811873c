"""The two sides of `benchmarks.bus`: a hand-written loop over SQLite, and our bus, store and host."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from events.catalog import encode
from events.envelope import Event
from events.rollback_requested import RollbackRequested
from events.training_progressed import TrainingProgressed
from shared.hosts.embedded import EmbeddedHost
from shared.local.assembly import open_ports
from shared.local.bus import SqliteBus
from shared.local.company import SqliteCompany
from shared.record import Do, Record
from shared.service import Decision, Ports, Service, Speech, Wish
from shared.settings import Settings

BATCH = 64
PER_SUBJECT = 20  # as many events as a record of the platform hears in its life, or somewhat more
HEARD = "training-progressed"
PATIENCE = 600.0
PAUSE = 0.002  # until what follows an effect is done too
_encode = msgspec.json.Encoder().encode

_PLAIN_SCHEMA = """
CREATE TABLE log (position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, subject TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE deliveries (position INTEGER PRIMARY KEY, subject TEXT NOT NULL);
CREATE TABLE records (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""


class World(Protocol):
    """One side. Events go in by `publish`, and `react` does all that is pending."""

    def publish(self, events: Sequence[Event]) -> None: ...
    def react(self) -> None: ...
    def replay(self, count: int) -> None: ...
    def close(self) -> None: ...


def stream(start: int = 0) -> Iterator[Event]:
    """Events of many subjects, taken in turns, as they come from runs that go on at once."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    number = start
    while True:
        block, within = divmod(number, BATCH * PER_SUBJECT)
        run = f"r-{block:08d}-{within % BATCH:03d}"
        payload = TrainingProgressed(
            run_id=run, attempt=1, phase="training", step=within, total_steps=100, loss=1.5
        )
        yield Event(
            id=f"e-{number:032x}",
            name=HEARD,
            source="/bench",
            subject=f"runs/{run}",
            time=now,
            data=encode(payload),
        )
        number += 1


def batches(events: Sequence[Event]) -> Iterator[list[Event]]:
    """In the same portions for both sides."""
    rest = iter(events)
    while batch := list(islice(rest, BATCH)):
        yield batch


class Plain:
    """What somebody would write by hand for this one purpose: same durability, batched, no order, no leases."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        self._connection = sqlite3.connect(home / "plain.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_PLAIN_SCHEMA)

    def publish(self, events: Sequence[Event]) -> None:
        """Insert the event and its delivery."""
        execute = self._connection.execute
        for batch in batches(events):
            execute("BEGIN IMMEDIATE")
            for event in batch:
                row = (event.id, event.subject, _encode(event))
                at = execute("INSERT INTO log (id, subject, body) VALUES (?, ?, ?)", row).lastrowid
                execute("INSERT INTO deliveries (position, subject) VALUES (?, ?)", (at, event.subject))
            execute("COMMIT")

    def react(self) -> None:
        """Read the event, read and write the record, delete the delivery."""
        execute = self._connection.execute
        sql = "SELECT position, d.subject, body FROM deliveries d JOIN log USING (position) ORDER BY position LIMIT ?"
        while rows := execute(sql, (BATCH,)).fetchall():
            execute("BEGIN IMMEDIATE")
            for position, subject, body in rows:
                self._one(subject, msgspec.json.decode(body, type=Event))
                execute("DELETE FROM deliveries WHERE position = ?", (position,))
            execute("COMMIT")

    def alone(self, events: Iterable[Event]) -> list[float]:
        """One after another, each with fsyncs of its own; seconds."""
        found = []
        for event in events:
            began = time.perf_counter()
            self.publish([event])
            self.react()
            found.append(time.perf_counter() - began)
        return found

    def replay(self, count: int) -> None:
        """Deliver the newest events once more; all were decided."""
        self._connection.execute(
            "INSERT INTO deliveries SELECT position, subject FROM log ORDER BY position DESC LIMIT ?",
            (count,),
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _one(self, key: str, event: Event) -> None:
        execute = self._connection.execute
        row = execute("SELECT body FROM records WHERE key = ?", (key,)).fetchone()
        record = msgspec.json.decode(row[0], type=Record) if row else Record(key=key)
        if event.id in record.inbox:
            return
        written = msgspec.structs.replace(
            record,
            revision=record.revision + 1,
            data={"count": record.data.get("count", 0) + 1},
            inbox=(*record.inbox, event.id),
        )
        sql = "INSERT OR REPLACE INTO records (key, revision, body) VALUES (?, ?, ?)"
        execute(sql, (key, written.revision, _encode(written)))


class Ours:
    """Bus, store and host of the local profile, with one service that counts."""

    def __init__(self, home: Path, service: Service) -> None:
        self._settings = Settings(home=home, cache=home / "cache")
        self._local = open_ports(self._settings)
        self._service = service
        self._local.bus.subscribe(service.name, service.hears)

    def publish(self, events: Sequence[Event]) -> None:
        """As a service would, in portions."""
        for batch in batches(events):
            self._local.bus.publish(batch)

    def react(self) -> None:
        """Start the host, wait until nothing is pending, close it. Raises TimeoutError."""
        with self._host():
            deadline = time.monotonic() + PATIENCE
            while self._any_pending():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done within {PATIENCE:.0f} s")
                time.sleep(0.002)

    def alone(self, events: Iterable[Event], performed: threading.Event) -> list[float]:
        """Publish one after another, each once the one before was handled; seconds from call to effect."""
        found = []
        with self._host() as bus:
            for event in events:
                performed.clear()
                began = time.perf_counter()
                bus.publish([event])
                if not performed.wait(PATIENCE):
                    raise TimeoutError(f"not done within {PATIENCE:.0f} s")
                found.append(time.perf_counter() - began)
                time.sleep(PAUSE)
        return found

    @contextmanager
    def _host(self) -> Iterator[SqliteBus]:
        bus = SqliteBus(self._local.database)  # a host that was closed leaves its bus stopped
        company = SqliteCompany(self._local.database, bus)
        host = EmbeddedHost({self._service.name: self._service}, self._ports(), bus, company=company)
        host.start()
        try:
            yield bus
        finally:
            host.close()

    def replay(self, count: int) -> None:
        """Deliver the newest events once more; all were decided."""
        sql = (
            "INSERT INTO deliveries (service, position, subject, due)"
            " SELECT ?, position, subject, 0 FROM log WHERE name = ? ORDER BY position DESC LIMIT ?"
        )
        self._local.database.write(lambda c: c.execute(sql, (self._service.name, HEARD, count)))

    def close(self) -> None:
        """Close the file."""
        self._local.close()

    def _any_pending(self) -> bool:
        sql = "SELECT 1 FROM deliveries LIMIT 1"
        return self._local.database.read(lambda c: c.execute(sql).fetchone()) is not None

    def _ports(self) -> Ports:
        local = self._local
        return Ports(
            store=local.store,
            artifacts=local.artifacts,
            cluster=None,  # type: ignore[arg-type]  # nothing here has one launched
            clock=local.clock,
            settings=self._settings,
        )


def counter(*, speaks: bool, told: Callable[[], None] = lambda: None) -> Service:
    """A service that counts what it hears; where it speaks, it also says an event and asks for one effect.

    told: the effect.
    """

    def nothing(_do: Do, _record: Record) -> Sequence[Speech]:
        told()
        return ()

    def decide(record: Record, _event: Event, _now: datetime) -> Decision:
        data = {"count": record.data.get("count", 0) + 1}
        said = RollbackRequested(model_id="bench", version=str(data["count"]), by="bench")
        says = (Speech(said, record.key),) if speaks else ()
        wishes = (Wish("nothing"),) if speaks else ()
        return Decision(status="TRAINING", data=data, says=says, wishes=wishes)

    return Service(
        name="counter",
        hears=(HEARD,),
        says=(),
        owns="runs",
        key=lambda event: event.subject,
        decide=decide,
        effects=lambda _: {"nothing": nothing},
    )
