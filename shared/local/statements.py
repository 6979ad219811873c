"""What the bus does to its tables inside a transaction; each may share it with others."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from events.envelope import Event
from shared.ports.bus import Delivery

_AT = "service = ? AND position = ? AND lease = ?"
_LEASE = """
UPDATE deliveries SET lease = position || ?, due = ?, attempts = attempts + 1
WHERE (service, position) IN (
    SELECT service, position FROM deliveries WHERE head = 1 AND due <= ? ORDER BY due LIMIT ?)
RETURNING position, service, lease, attempts, (SELECT body FROM log l WHERE l.position = deliveries.position)
"""
_decode = msgspec.json.Decoder(Event).decode
_encode = msgspec.json.Encoder().encode


def publish(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Log what is new, and owe it to who subscribed."""
    now = time.time()
    for event in events:
        cursor = connection.execute(
            "INSERT OR IGNORE INTO log (id, source, name, subject, time, body) VALUES (?, ?, ?, ?, ?, ?)",
            (event.id, event.source, event.name, event.subject, moment(event.time), _encode(event)),
        )
        if cursor.rowcount:
            _fan_out(connection, event, cursor.lastrowid or 0, now)


def lease(connection: sqlite3.Connection, limit: int, seconds: float) -> list[Delivery]:
    """Lend what is due. A lease begins with the delivery's position, which so needs no search at its end."""
    now = time.time()
    token = f".{secrets.token_hex(8)}"
    rows = connection.execute(_LEASE, (token, now + seconds, now, limit)).fetchall()
    return [
        Delivery(event=_decode(body), service=service, lease=token, attempt=attempts)
        for _, service, token, attempts, body in sorted(rows)
    ]


def ack(connection: sqlite3.Connection, delivery: Delivery) -> bool:
    """Strike it off. False where the lease had run out, as for the next two."""
    return _changed(connection, f"DELETE FROM deliveries WHERE {_AT}", _address(delivery))


def retry(connection: sqlite3.Connection, delivery: Delivery, due: float, error: str) -> bool:
    """Let it be lent again from `due` on (seconds since the epoch)."""
    sql = f"UPDATE deliveries SET due = ?, lease = '', error = ? WHERE {_AT}"
    return _changed(connection, sql, (due, error, *_address(delivery)))


def bury(connection: sqlite3.Connection, delivery: Delivery, cause: str) -> bool:
    """To the dead letters."""
    row = connection.execute(
        f"DELETE FROM deliveries WHERE {_AT} RETURNING position, attempts", _address(delivery)
    ).fetchone()
    if row is None:
        return False
    connection.execute(
        "INSERT OR REPLACE INTO dead (service, position, cause, attempts, at) VALUES (?, ?, ?, ?, ?)",
        (delivery.service, row[0], cause, row[1], datetime.now(UTC).isoformat()),
    )
    return True


def redrive(connection: sqlite3.Connection, event_id: str, service: str) -> bool:
    """From the dead letters back to what is to be done."""
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
        (service, time.time(), row[0]),
    )
    return True


def moment(time: datetime) -> str:
    """In UTC, so that moments of all zones can be compared as text."""
    return (time if time.tzinfo is UTC else time.astimezone(UTC)).isoformat()


def _fan_out(connection: sqlite3.Connection, event: Event, position: int, now: float) -> None:
    connection.execute(
        "INSERT INTO deliveries (service, position, subject, due)"
        " SELECT service, ?, ?, ? FROM subscriptions WHERE name = ?",
        (position, event.subject or event.id, now, event.name),
    )


def _changed(connection: sqlite3.Connection, sql: str, parameters: Sequence[object]) -> bool:
    return connection.execute(sql, parameters).rowcount > 0


def _address(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.service, delivery.lease.partition(".")[0], delivery.lease
