"""The bus on SQLite: an append-only log, and one row for each delivery still to be done.

Order: within a service, an event waits until every earlier one of the same subject is done or buried.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from events.envelope import Event
from shared.local.sqlite import Database
from shared.ports.bus import DeadLetter, Delivery, Logged, Query

_AT = "service = ? AND position = (SELECT position FROM log WHERE source = ? AND id = ?) AND lease = ?"
POLL_SECONDS = 0.05  # how soon an event said by another process is noticed
_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode

_DUE = """
SELECT d.service, d.position, d.attempts, l.body FROM deliveries d JOIN log l USING (position)
WHERE d.due <= ? AND NOT EXISTS (
    SELECT 1 FROM deliveries e
    WHERE e.service = d.service AND e.subject = d.subject AND e.position < d.position)
ORDER BY d.due LIMIT ?
"""


class SqliteBus:
    """See `shared.ports.bus.Bus`. lease_seconds: how long a delivery is lent."""

    def __init__(self, database: Database, lease_seconds: float = 60) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._bell = threading.Event()
        self._stopping = threading.Event()

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        """See `Bus.subscribe`."""
        rows = [(name, service) for name in names]
        sql = "INSERT OR IGNORE INTO subscriptions (name, service) VALUES (?, ?)"
        self._database.write(lambda connection: connection.executemany(sql, rows))

    def publish(self, events: Sequence[Event]) -> None:
        """See `Bus.publish`."""
        now = time.time()
        self._database.write(lambda connection: _publish(connection, events, now))
        self._bell.set()

    def lease(self, limit: int, wait: float) -> Sequence[Delivery]:
        """See `Bus.lease`."""
        deadline = time.monotonic() + wait
        while True:
            self._bell.clear()
            if self._stopping.is_set():
                return []
            version = self._database.version()
            if self._any_due():
                return self._database.write(lambda c: _lease(c, limit, self._lease_seconds))
            if not self._wait_for_news(version, deadline):
                return []

    def ack(self, delivery: Delivery) -> bool:
        """See `Bus.ack`."""
        return self._change(f"DELETE FROM deliveries WHERE {_AT}", _address(delivery))

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        """See `Bus.retry`."""
        sql = f"UPDATE deliveries SET due = ?, lease = '', error = ? WHERE {_AT}"
        return self._change(sql, (time.time() + after, error, *_address(delivery)))

    def bury(self, delivery: Delivery, cause: str) -> bool:
        """See `Bus.bury`."""
        at = datetime.now(UTC).isoformat()
        buried = self._database.write(lambda connection: _bury(connection, delivery, cause, at))
        self._bell.set()
        return buried

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
        now = time.time()
        redriven = self._database.write(lambda connection: _redrive(connection, event_id, service, now))
        self._bell.set()
        return redriven

    def expire_leases(self) -> None:
        """Take back all that is lent. Only for one who knows that nobody else works: the holder of the home."""
        sql = "UPDATE deliveries SET due = ?, lease = '' WHERE lease <> ''"
        self._change(sql, (time.time(),))

    def pending(self) -> int:
        """How many deliveries are still to be done."""
        sql = "SELECT count(*) FROM deliveries"
        return int(self._database.read(lambda connection: connection.execute(sql).fetchone())[0])

    def stop_leasing(self) -> None:
        """Let a waiting `lease` return empty-handed, now and from now on."""
        self._stopping.set()
        self._bell.set()

    def _any_due(self) -> bool:
        rows = self._database.read(lambda connection: connection.execute(_DUE, (time.time(), 1)).fetchall())
        return bool(rows)

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
        sql = "SELECT min(due) FROM deliveries WHERE due > ?"
        row = self._database.read(lambda connection: connection.execute(sql, (time.time(),)).fetchone())
        return None if row[0] is None else float(row[0])

    def _change(self, sql: str, parameters: Sequence[object]) -> bool:
        changed = self._database.write(lambda connection: connection.execute(sql, parameters).rowcount)
        self._bell.set()
        return changed > 0


def _publish(connection: sqlite3.Connection, events: Sequence[Event], now: float) -> None:
    for event in events:
        cursor = connection.execute(
            "INSERT OR IGNORE INTO log (id, source, name, subject, time, body) VALUES (?, ?, ?, ?, ?, ?)",
            (event.id, event.source, event.name, event.subject, _moment(event.time), _encode(event)),
        )
        if cursor.rowcount:
            _fan_out(connection, event, cursor.lastrowid or 0, now)


def _fan_out(connection: sqlite3.Connection, event: Event, position: int, now: float) -> None:
    connection.execute(
        "INSERT INTO deliveries (service, position, subject, due)"
        " SELECT service, ?, ?, ? FROM subscriptions WHERE name = ?",
        (position, event.subject or event.id, now, event.name),
    )


def _lease(connection: sqlite3.Connection, limit: int, seconds: float) -> list[Delivery]:
    now = time.time()
    lent = []
    for service, position, attempts, body in connection.execute(_DUE, (now, limit)).fetchall():
        lease = secrets.token_hex(8)
        connection.execute(
            "UPDATE deliveries SET lease = ?, due = ?, attempts = attempts + 1 WHERE service = ? AND position = ?",
            (lease, now + seconds, service, position),
        )
        lent.append(Delivery(event=_decode(body), service=service, lease=lease, attempt=attempts + 1))
    return lent


def _bury(connection: sqlite3.Connection, delivery: Delivery, cause: str, at: str) -> bool:
    row = connection.execute(
        f"DELETE FROM deliveries WHERE {_AT} RETURNING position, attempts", _address(delivery)
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "INSERT OR REPLACE INTO dead (service, position, cause, attempts, at) VALUES (?, ?, ?, ?, ?)",
        (delivery.service, row[0], cause, row[1], at),
    )
    return True


def _redrive(connection: sqlite3.Connection, event_id: str, service: str, now: float) -> bool:
    row = connection.execute(
        "DELETE FROM dead WHERE service = ? AND position IN (SELECT position FROM log WHERE id = ?)"
        " RETURNING position",
        (service, event_id),
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "INSERT OR IGNORE INTO deliveries (service, position, subject, due)"
        " SELECT ?, position, CASE subject WHEN '' THEN id ELSE subject END, ? FROM log WHERE position = ?",
        (service, now, row[0]),
    )
    return True


def _address(delivery: Delivery) -> tuple[str, str, str, str]:
    return delivery.service, delivery.event.source, delivery.event.id, delivery.lease


def _conditions(query: Query) -> tuple[list[str], list[object]]:
    asked: list[tuple[str, object]] = [
        ("name = ?", query.name),
        ("subject = ?", query.subject),
        ("time >= ?", _moment(query.since) if query.since else ""),
        ("time < ?", _moment(query.until) if query.until else ""),
    ]
    given = [(sql, value) for sql, value in asked if value]
    position = "position < ?" if query.newest and query.after else "position > ?"
    return [position, *(sql for sql, _ in given)], [query.after, *(value for _, value in given)]


def _moment(time: datetime) -> str:
    """In UTC, so that moments of all zones can be compared as text."""
    return time.astimezone(UTC).isoformat()
