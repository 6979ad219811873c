"""The tables of the local profile. `log` only grows; `deliveries` holds only what is still to be done.

decisions: which record decided which event when, in the order of it all; written by the commit that did it, so
that a record can be decided again from the log alone. notes: what operators did to log and deliveries, and why.
"""

from __future__ import annotations

import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, subject TEXT NOT NULL, time TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS log_by_id ON log (id, source);
CREATE INDEX IF NOT EXISTS log_by_subject ON log (subject, position);
CREATE INDEX IF NOT EXISTS log_by_name ON log (name, position);

CREATE TABLE IF NOT EXISTS subscriptions (
    name TEXT NOT NULL, service TEXT NOT NULL, PRIMARY KEY (name, service)
) WITHOUT ROWID;

-- due: when it may be lent (again); a lease moves it to the lease's end. head: 1 for the first of its service
-- and subject, the only one that may be lent. Triggers keep it, so that finding what is due costs the same
-- however many wait behind.
CREATE TABLE IF NOT EXISTS deliveries (
    service TEXT NOT NULL, position INTEGER NOT NULL, subject TEXT NOT NULL,
    due REAL NOT NULL, lease TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '', head INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (service, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE head = 1;
CREATE INDEX IF NOT EXISTS deliveries_by_subject ON deliveries (service, subject, position);

CREATE TRIGGER IF NOT EXISTS delivery_comes AFTER INSERT ON deliveries
WHEN NOT EXISTS (
    SELECT 1 FROM deliveries
    WHERE service = NEW.service AND subject = NEW.subject AND position < NEW.position)
BEGIN
    UPDATE deliveries SET head = 0 WHERE head = 1 AND service = NEW.service AND position = (
        SELECT min(position) FROM deliveries
        WHERE service = NEW.service AND subject = NEW.subject AND position > NEW.position);
    UPDATE deliveries SET head = 1 WHERE service = NEW.service AND position = NEW.position;
END;

CREATE TRIGGER IF NOT EXISTS delivery_goes AFTER DELETE ON deliveries WHEN OLD.head = 1
BEGIN
    UPDATE deliveries SET head = 1 WHERE service = OLD.service AND position = (
        SELECT min(position) FROM deliveries WHERE service = OLD.service AND subject = OLD.subject);
END;

CREATE TABLE IF NOT EXISTS dead (
    service TEXT NOT NULL, position INTEGER NOT NULL, cause TEXT NOT NULL,
    attempts INTEGER NOT NULL, at TEXT NOT NULL, PRIMARY KEY (service, position)
) WITHOUT ROWID;

-- With rowids: bodies of some kilobytes inside the key's own tree would have a third more written per commit.
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, revision INTEGER NOT NULL, status TEXT NOT NULL,
    owing INTEGER NOT NULL, updated TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, status, key);
CREATE INDEX IF NOT EXISTS records_owing ON records (updated) WHERE owing = 1;

CREATE TABLE IF NOT EXISTS decisions (
    position INTEGER PRIMARY KEY, event TEXT NOT NULL, key TEXT NOT NULL, at TEXT NOT NULL, UNIQUE (event, key)
);

CREATE TABLE IF NOT EXISTS notes (
    position INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
    reason TEXT NOT NULL, detail BLOB NOT NULL
);
"""

_HEADS = """
UPDATE deliveries SET head = 1 WHERE NOT EXISTS (
    SELECT 1 FROM deliveries e
    WHERE e.service = deliveries.service AND e.subject = deliveries.subject AND e.position < deliveries.position)
"""


def upgrade(connection: sqlite3.Connection) -> None:
    """Give the deliveries of an older file their heads."""
    if not _lacks_heads(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if _lacks_heads(connection):  # asked again: another process may have been faster
        connection.execute("ALTER TABLE deliveries ADD COLUMN head INTEGER NOT NULL DEFAULT 0")
        connection.execute(_HEADS)
        connection.execute("DROP INDEX IF EXISTS deliveries_by_due")
    connection.execute("COMMIT")


def _lacks_heads(connection: sqlite3.Connection) -> bool:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(deliveries)")}
    return bool(columns) and "head" not in columns
