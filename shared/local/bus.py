"""The bus on SQLite: an append-only log, and one row for each delivery still to be done.

Order: within a service, an event waits until every earlier one of the same subject is done or buried.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from events.envelope import Event
from shared.local import statements
from shared.local.sqlite import Database, Work
from shared.ports.bus import DeadLetter, Delivery, Logged, Query

POLL_SECONDS = 0.05  # how soon an event said by another process is noticed
CLOCK_STEP = 1.0  # seconds by which a clock that goes back was set, and not slewed
_decode = msgspec.json.Decoder(Event).decode


class SqliteBus:
    """See `shared.ports.bus.Bus`. lease_seconds: how long a delivery is lent."""

    def __init__(self, database: Database, lease_seconds: float = 60) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._clock = 0.0

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        """See `Bus.subscribe`."""
        rows = [(name, service) for name in names]
        sql = "INSERT OR IGNORE INTO subscriptions (name, service) VALUES (?, ?)"
        self._database.write(lambda connection: connection.executemany(sql, rows))

    def publish(self, events: Sequence[Event]) -> None:
        """See `Bus.publish`."""
        self._database.write(lambda connection: statements.publish(connection, events))
        self.ring()

    def lease(self, limit: int, wait: float) -> Sequence[Delivery]:
        """See `Bus.lease`."""
        deadline = time.monotonic() + wait
        while True:
            self._bell.clear()
            if self._stopping.is_set():
                return []
            version = self._database.version()
            self._notice_the_clock()
            if self._any_due():
                return self._lend(limit)
            if not self._wait_for_news(version, deadline):
                return []

    def ack(self, delivery: Delivery) -> bool:
        """See `Bus.ack`."""
        return self._settle(lambda connection: statements.ack(connection, delivery))

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        """See `Bus.retry`."""
        due = time.time() + after
        return self._settle(lambda connection: statements.retry(connection, delivery, due, error))

    def bury(self, delivery: Delivery, cause: str) -> bool:
        """See `Bus.bury`."""
        return self._settle(lambda connection: statements.bury(connection, delivery, cause))

    def log(self, query: Query) -> Sequence[Logged]:
        """See `Bus.log`."""
        conditions, parameters = _conditions(query)
        order = "DESC" if query.newest else "ASC"
        sql = f"SELECT position, body FROM log WHERE {' AND '.join(conditions)} ORDER BY position {order} LIMIT ?"
        rows = self._database.read(lambda c: c.execute(sql, (*parameters, query.limit)).fetchall())
        return [Logged(position=position, event=_decode(body)) for position, body in rows]

    def event(self, event_id: str) -> Event | None:
        """One event of the log by its id."""
        sql = "SELECT body FROM log WHERE id = ?"
        row = self._database.read(lambda connection: connection.execute(sql, (event_id,)).fetchone())
        return _decode(row[0]) if row else None

    def dead_letters(self, limit: int = 1000) -> Sequence[DeadLetter]:
        """See `Bus.dead_letters`."""
        sql = (
            "SELECT l.body, d.service, d.cause, d.attempts, d.at"
            " FROM dead d JOIN log l USING (position) ORDER BY d.at LIMIT ?"
        )
        rows = self._database.read(lambda connection: connection.execute(sql, (limit,)).fetchall())
        return [
            DeadLetter(
                event=_decode(body), service=service, cause=cause, attempts=n, at=datetime.fromisoformat(at)
            )
            for body, service, cause, n, at in rows
        ]

    def redrive(self, event_id: str, service: str) -> bool:
        """See `Bus.redrive`."""
        redriven = self._database.write(lambda connection: statements.redrive(connection, event_id, service))
        self.ring()
        return redriven

    def expire_leases(self) -> None:
        """Take back all that is lent. Only for one who knows that nobody else works: the holder of the home.

        What was to be tried later is tried now: the clock may have been set back meanwhile.
        """
        now = time.time()
        sql = "UPDATE deliveries SET due = ?, lease = '' WHERE lease <> '' OR due > ?"
        self._database.write(lambda connection: connection.execute(sql, (now, now)))
        self.ring()

    def pending(self) -> int:
        """How many deliveries are still to be done."""
        sql = "SELECT count(*) FROM deliveries"
        return int(self._database.read(lambda connection: connection.execute(sql).fetchone())[0])

    def stop_leasing(self) -> None:
        """Let a waiting `lease` return empty-handed, now and from now on."""
        self._stopping.set()
        self._bell.set()

    def ring(self) -> None:
        """Let a waiting `lease` look again."""
        self._bell.set()

    def _lend(self, limit: int) -> list[Delivery]:
        # A power cut may undo it: then nothing was lent.
        return self._database.write(
            lambda connection: statements.lease(connection, limit, self._lease_seconds), durable=False
        )

    def _settle(self, work: Work[bool]) -> bool:
        """A power cut may undo it: then it is delivered again, which an inbox makes harmless."""
        settled = self._database.write(work, durable=False)
        self.ring()
        return settled

    def _notice_the_clock(self) -> None:
        """Where it was set back, what was due by the old time is due now, and not once that time comes again."""
        now = time.time()
        if now < self._clock - CLOCK_STEP:
            sql = "UPDATE deliveries SET due = ? WHERE lease = '' AND due > ?"
            self._database.write(lambda connection: connection.execute(sql, (now, now)))
        self._clock = now

    def _any_due(self) -> bool:
        sql = "SELECT 1 FROM deliveries WHERE head = 1 AND due <= ? LIMIT 1"
        now = time.time()
        return self._database.read(lambda connection: connection.execute(sql, (now,)).fetchone()) is not None

    def _wait_for_news(self, version: int, deadline: float) -> bool:
        """Sleep until something may be due; False once the deadline has passed, or the bell told to stop."""
        next_due = self._next_due()
        while (now := time.monotonic()) < deadline:
            if self._bell.wait(min(POLL_SECONDS, deadline - now)):
                return True
            if self._database.version() != version or (next_due is not None and next_due <= time.time()):
                return True
        return False

    def _next_due(self) -> float | None:
        sql = "SELECT min(due) FROM deliveries WHERE head = 1 AND due > ?"
        row = self._database.read(lambda connection: connection.execute(sql, (time.time(),)).fetchone())
        return None if row[0] is None else float(row[0])


def _conditions(query: Query) -> tuple[list[str], list[object]]:
    asked: list[tuple[str, object]] = [
        ("name = ?", query.name),
        ("subject = ?", query.subject),
        ("time >= ?", statements.moment(query.since) if query.since else ""),
        ("time < ?", statements.moment(query.until) if query.until else ""),
    ]
    given = [(sql, value) for sql, value in asked if value]
    position = "position < ?" if query.newest and query.after else "position > ?"
    return [position, *(sql for sql, _ in given)], [query.after, *(value for _, value in given)]
