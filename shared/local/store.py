"""The registry on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from shared.errors import Conflict
from shared.lifecycle import guard
from shared.local.schema import SCHEMA, upgrade
from shared.local.sqlite import Database
from shared.record import Record

_decode = msgspec.json.Decoder(Record).decode
_encode = msgspec.json.Encoder().encode


class SqliteStore:
    """Records in one table, each as one JSON body beside the columns that are searched by."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, key: str) -> Record:
        """See `shared.ports.store.Store.load`."""
        return self._database.read(lambda connection: _load(connection, key))

    def commit(self, record: Record) -> Record:
        """See `shared.ports.store.Store.commit`."""
        return self._database.write(lambda connection: commit(connection, record))

    def commit_all(self, records: Sequence[Record]) -> None:
        """Commit one after another, all or none. Raises what `commit` raises."""
        self._database.write(lambda connection: [commit(connection, record) for record in records])

    def list(
        self, kind: str, *, status: str = "", prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Record]:
        """See `shared.ports.store.Store.list`."""
        start, end = f"{kind}/{prefix}", f"{kind}/{prefix}\U0010ffff"
        sql = "SELECT body FROM records WHERE key >= ? AND key < ? AND key > ?"
        parameters: list[object] = [start, end, after]
        if status:
            sql, parameters = sql + " AND status = ?", [*parameters, status]
        return self._bodies(sql + " ORDER BY key LIMIT ?", [*parameters, limit])

    def owing(self, *, before: datetime, limit: int = 100) -> Sequence[Record]:
        """See `shared.ports.store.Store.owing`."""
        sql = "SELECT body FROM records WHERE owing = 1 AND updated < ? ORDER BY updated LIMIT ?"
        return self._bodies(sql, [before.astimezone(UTC).isoformat(), limit])

    def version(self) -> int:
        """Changes whenever something was committed: a cheap question before a reload."""
        return self._database.version()

    def _bodies(self, sql: str, parameters: Sequence[object]) -> Sequence[Record]:
        rows = self._database.read(lambda connection: connection.execute(sql, parameters).fetchall())
        return [_decode(body) for (body,) in rows]


def open_database(path: Path) -> Database:
    """The file that holds bus and store; made with its tables if absent. Raises Retry."""
    return Database(path, SCHEMA, upgrade)


def commit(connection: sqlite3.Connection, record: Record) -> Record:
    """See `Store.commit`; inside a transaction that it may share with others."""
    stored = _load(connection, record.key)
    if stored.revision != record.revision:
        raise Conflict(f"{record.key}: revision is {stored.revision}, not {record.revision}")
    guard(stored, record)
    written = msgspec.structs.replace(record, revision=record.revision + 1)
    owing = int(bool(written.outbox) and written.dead is None)
    updated = written.updated_at.astimezone(UTC).isoformat() if written.updated_at else ""
    connection.execute(
        "INSERT INTO records (key, kind, revision, status, owing, updated, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, status = excluded.status,"
        " owing = excluded.owing, updated = excluded.updated, body = excluded.body",
        (written.key, written.kind, written.revision, written.status, owing, updated, _encode(written)),
    )
    if written.inbox and written.inbox[-1:] != stored.inbox[-1:]:
        sql = "INSERT OR IGNORE INTO decisions (event, key, at) VALUES (?, ?, ?)"
        connection.execute(sql, (written.inbox[-1], written.key, updated))
    return written


def _load(connection: sqlite3.Connection, key: str) -> Record:
    row = connection.execute("SELECT body FROM records WHERE key = ?", (key,)).fetchone()
    return _decode(row[0]) if row else Record(key=key)
