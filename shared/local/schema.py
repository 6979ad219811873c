"""The tables of the local profile. `log` only grows; `deliveries` holds only what is still to be done.

decisions: which record decided which event when, in the order of it all; written by the commit that did it, so
that a record can be decided again from the log alone. notes: what operators did to log and deliveries, and why.
"""

from __future__ import annotations

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL, source TEXT NOT NULL, name TEXT NOT NULL, subject TEXT NOT NULL, time TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (source, id)
);
CREATE INDEX IF NOT EXISTS log_by_id ON log (id);
CREATE INDEX IF NOT EXISTS log_by_subject ON log (subject, position);
CREATE INDEX IF NOT EXISTS log_by_name ON log (name, position);

CREATE TABLE IF NOT EXISTS subscriptions (
    name TEXT NOT NULL, service TEXT NOT NULL, PRIMARY KEY (name, service)
) WITHOUT ROWID;

-- due: when it may be lent (again); a lease moves it to the lease's end.
CREATE TABLE IF NOT EXISTS deliveries (
    service TEXT NOT NULL, position INTEGER NOT NULL, subject TEXT NOT NULL,
    due REAL NOT NULL, lease TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (service, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deliveries_by_due ON deliveries (due);
CREATE INDEX IF NOT EXISTS deliveries_by_subject ON deliveries (service, subject, position);

CREATE TABLE IF NOT EXISTS dead (
    service TEXT NOT NULL, position INTEGER NOT NULL, cause TEXT NOT NULL,
    attempts INTEGER NOT NULL, at TEXT NOT NULL, PRIMARY KEY (service, position)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, revision INTEGER NOT NULL, status TEXT NOT NULL,
    owing INTEGER NOT NULL, updated TEXT NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
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
