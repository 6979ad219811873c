"""The operators' part of the SQLite profile. See `shared.ports.operations`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from events.envelope import Event
from shared.local.sqlite import Database
from shared.ports.bus import DeadLetter
from shared.ports.operations import Decided, Note, Snapshot, Waiting
from shared.record import Record

_decode = msgspec.json.Decoder(Event).decode
_record = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode
_WAITING = (
    "SELECT l.body, d.service, d.attempts, d.due, d.lease, d.error FROM deliveries d JOIN log l USING (position)"
    " ORDER BY d.due, d.position LIMIT ?"
)
_DEAD = "SELECT l.body, d.service, d.cause, d.attempts, d.at FROM dead d JOIN log l USING (position) ORDER BY d.at"
_DELIVER = (
    "INSERT OR IGNORE INTO deliveries (service, position, subject, due, attempts, error)"
    " SELECT ?, position, CASE subject WHEN '' THEN id ELSE subject END, ?, ?, ? FROM log WHERE id = ?"
)
_OF = "service = ? AND position IN (SELECT position FROM log WHERE id = ?)"


class SqliteOperations:
    """See `shared.ports.operations.Operations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """See `Operations.find`."""
        sql = "SELECT id FROM log WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        return [row[0] for row in self._rows(sql, prefix, f"{prefix}\U0010ffff", limit)]

    def waiting(self, limit: int = 1000) -> Sequence[Waiting]:
        """See `Operations.waiting`."""
        return [_waiting(row) for row in self._rows(_WAITING, limit)]

    def decisions(self, *, event: str = "", key: str = "") -> Sequence[Decided]:
        """See `Operations.decisions`."""
        column, value = ("event", event) if event else ("key", key)
        return [
            _decided(row)
            for row in self._rows(
                f"SELECT position, event, key, at FROM decisions WHERE {column} = ? ORDER BY position", value
            )
        ]

    def unparented(self, limit: int = 100) -> Sequence[tuple[str, str]]:
        """See `Operations.unparented`."""
        sql = (
            "SELECT id, json_extract(CAST(body AS TEXT), '$.cause') AS parent FROM log"
            " WHERE parent <> '' AND NOT EXISTS (SELECT 1 FROM log p WHERE p.id = parent) LIMIT ?"
        )
        return [(row[0], row[1]) for row in self._rows(sql, limit)]

    def redeliver(self, event_id: str, service: str, after: float = 0) -> bool:
        """See `Operations.redeliver`."""

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute(f"DELETE FROM dead WHERE {_OF}", (service, event_id))
            return connection.execute(_DELIVER, (service, time.time() + after, 0, "", event_id)).rowcount > 0

        return self._database.write(work)

    def discard(self, event_id: str, service: str) -> bool:
        """See `Operations.discard`."""
        sql = f"DELETE FROM dead WHERE {_OF}"
        return self._database.write(lambda c: c.execute(sql, (service, event_id)).rowcount) > 0

    def note(self, note: Note) -> None:
        """See `Operations.note`."""
        self._database.write(lambda connection: _note(connection, note))

    def notes(self, action: str = "") -> Sequence[Note]:
        """See `Operations.notes`."""
        sql = "SELECT at, who, action, reason, detail FROM notes WHERE ? IN ('', action) ORDER BY position"
        return [_noted(row) for row in self._rows(sql, action)]

    def forget(self, event_ids: Sequence[str]) -> None:
        """See `Operations.forget`."""
        ids = [(identifier,) for identifier in event_ids]

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM decisions WHERE event = ?", ids)
            connection.executemany("DELETE FROM log WHERE id = ?", ids)

        self._database.write(work)

    def snapshot(self) -> Snapshot:
        """See `Operations.snapshot`."""
        return self._database.read(_snapshot)

    def take(self, snapshot: Snapshot) -> None:
        """See `Operations.take`."""
        self._database.write(lambda connection: _take(connection, snapshot))

    def _rows(self, sql: str, *parameters: object) -> list[Any]:
        return self._database.read(lambda connection: connection.execute(sql, parameters).fetchall())


def _snapshot(connection: sqlite3.Connection) -> Snapshot:
    connection.execute("BEGIN")
    try:
        rows = {name: connection.execute(sql).fetchall() for name, sql in _EVERYTHING.items()}
    finally:
        connection.execute("COMMIT")
    return Snapshot(
        events=[_decode(row[0]) for row in rows["log"]],
        decisions=[_decided(row) for row in rows["decisions"]],
        records=[_record(row[0]) for row in rows["records"]],
        waiting=[_waiting(row) for row in rows["waiting"]],
        dead=[_letter(row) for row in rows["dead"]],
        notes=[_noted(row) for row in rows["notes"]],
    )


_EVERYTHING = {
    "log": "SELECT body FROM log ORDER BY position",
    "decisions": "SELECT position, event, key, at FROM decisions ORDER BY position",
    "records": "SELECT body FROM records ORDER BY key",
    "waiting": _WAITING.replace("LIMIT ?", ""),
    "dead": _DEAD,
    "notes": "SELECT at, who, action, reason, detail FROM notes ORDER BY position",
}


def _take(connection: sqlite3.Connection, snapshot: Snapshot) -> None:
    now = time.time()
    connection.executemany(
        "INSERT OR IGNORE INTO log (id, source, name, subject, time, body) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (e.id, e.source, e.name, e.subject, e.time.astimezone(UTC).isoformat(), _encode(e))
            for e in snapshot.events
        ],
    )
    connection.executemany(_DELIVER, [(w.service, now, 0, w.error, w.event.id) for w in snapshot.waiting])
    connection.executemany(
        "INSERT OR IGNORE INTO dead (service, position, cause, attempts, at)"
        " SELECT ?, position, ?, ?, ? FROM log WHERE id = ?",
        [(d.service, d.cause, d.attempts, d.at.isoformat(), d.event.id) for d in snapshot.dead],
    )
    for note in snapshot.notes:
        _note(connection, note)


def _note(connection: sqlite3.Connection, note: Note) -> None:
    connection.execute(
        "INSERT INTO notes (at, who, action, reason, detail) VALUES (?, ?, ?, ?, ?)",
        (note.at.isoformat(), note.who, note.action, note.reason, _encode(note.detail)),
    )


def _noted(row: Sequence[Any]) -> Note:
    at, who, action, reason, detail = row
    return Note(
        at=datetime.fromisoformat(at),
        who=who,
        action=action,
        reason=reason,
        detail=msgspec.json.decode(detail, type=dict[str, Any]),
    )


def _waiting(row: Sequence[Any]) -> Waiting:
    body, service, attempts, due, lease, error = row
    return Waiting(
        event=_decode(body),
        service=service,
        attempts=attempts,
        due=datetime.fromtimestamp(due, UTC),
        lent=bool(lease),
        error=error,
    )


def _decided(row: Sequence[Any]) -> Decided:
    position, event, key, at = row
    return Decided(position=position, event=event, key=key, at=datetime.fromisoformat(at))


def _letter(row: Sequence[Any]) -> DeadLetter:
    body, service, cause, attempts, at = row
    return DeadLetter(
        event=_decode(body), service=service, cause=cause, attempts=attempts, at=datetime.fromisoformat(at)
    )
