"""Which delivery may be lent: always the first of its subject, found at one price however much waits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.local import statements
from shared.local.schema import SCHEMA
from shared.local.store import commit, open_database
from shared.record import Record
from tests.contracts.adapters import event

NAME = "training-progressed"
LITTLE, MUCH = 1_000, 20_000
ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    connection = made()
    yield connection
    connection.close()


def made() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    connection.execute("INSERT INTO subscriptions VALUES (?, 'training')", (NAME,))
    return connection


def heads(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    return connection.execute(
        "SELECT service, subject, position FROM deliveries WHERE head = 1 ORDER BY 1, 2, 3"
    ).fetchall()


def firsts(connection: sqlite3.Connection) -> list[tuple[str, str, int]]:
    return connection.execute(
        "SELECT service, subject, min(position) FROM deliveries GROUP BY 1, 2 ORDER BY 1, 2"
    ).fetchall()


PLACES = st.tuples(st.sampled_from("ab"), st.integers(1, 12))
STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "come or not", "anew", "go", "all go"]), PLACES), max_size=40
)
COME = "INTO deliveries (service, position, subject, due) VALUES (?, ?, ?, 0)"


@given(steps=STEPS)
@settings(deadline=None)
def test_the_head_is_the_first_whatever_comes_and_goes(steps: list[tuple[str, tuple[str, int]]]):
    connection = made()
    for what, (service, position) in steps:
        row = (service, position, f"s-{position % 3}")
        if what in {"come", "come or not"}:
            connection.execute(f"INSERT OR IGNORE {COME}", row)
        elif what == "anew":
            connection.execute(f"INSERT OR REPLACE {COME}", row)
        elif what == "go":
            connection.execute("DELETE FROM deliveries WHERE service = ? AND position = ?", row[:2])
        else:
            connection.execute("DELETE FROM deliveries WHERE subject = ?", row[2:])
        assert heads(connection) == firsts(connection)
    connection.close()


class TestCost:
    """In steps of SQLite's own machine: the same on every computer, and however busy it is."""

    @pytest.mark.parametrize("waiting", ["nothing", "one subject", "many subjects", "not yet due"])
    def test_an_event_costs_the_same_however_long_the_log_and_the_queue_are(self, waiting: str):
        costs = {size: cost(filled(size, waiting)) for size in (LITTLE, MUCH)}
        assert costs[MUCH] <= 1.5 * costs[LITTLE]

    def test_the_measure_sees_a_scan(self, empty: sqlite3.Connection):
        few, many = filled(LITTLE, "one subject"), filled(MUCH, "one subject")
        scan = "SELECT count(*) FROM deliveries WHERE error <> ''"
        assert steps(many, scan) > 10 * steps(few, scan)
        few.close()
        many.close()


def filled(size: int, waiting: str) -> sqlite3.Connection:
    """A log of so many events that were handled, and so many deliveries that wait."""
    connection = made()
    connection.execute("BEGIN")
    connection.execute(
        f"{ROWS} INSERT INTO log (id, source, name, subject, time, body)"
        " SELECT 'old-' || i, '/test', ?, 'runs/' || i, '2026', ? FROM n",
        (size, NAME, msgspec.json.encode(event("old"))),
    )
    connection.execute(
        f"{ROWS} INSERT INTO records (key, kind, revision, status, owing, updated, body)"
        " SELECT 'runs/' || i, 'runs', 1, 'TRAINING', 0, '2026', '{}' FROM n",
        (size,),
    )
    subject, due = {
        "nothing": ("", 0),
        "one subject": ("'runs/other'", 1),
        "many subjects": ("'runs/' || i", 1),
        "not yet due": ("'runs/' || i", 9e9),
    }[waiting]
    if subject:
        connection.execute(
            f"{ROWS} INSERT INTO deliveries (service, position, subject, due) SELECT 'training', i, {subject}, ? FROM n",
            (size, due),
        )
    if waiting == "one subject":
        connection.execute("UPDATE deliveries SET lease = 'lent', due = 9e9 WHERE position = 1")
    connection.execute("COMMIT")
    return connection


def cost(connection: sqlite3.Connection) -> int:
    """Steps of one event's whole way."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(counted, 1)
    connection.execute("BEGIN")
    statements.publish(connection, [event("new", subject="runs/new")])
    (delivery,) = statements.lease(connection, 1, 60)
    commit(connection, Record(key="runs/new", status="TRAINING"))
    assert statements.ack(connection, delivery)
    connection.execute("COMMIT")
    connection.set_progress_handler(None, 1)
    connection.close()
    return count


def steps(connection: sqlite3.Connection, sql: str) -> int:
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(counted, 1)
    connection.execute(sql).fetchall()
    connection.set_progress_handler(None, 1)
    return count


OLDER = """
CREATE TABLE deliveries (
    service TEXT NOT NULL, position INTEGER NOT NULL, subject TEXT NOT NULL,
    due REAL NOT NULL, lease TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '', PRIMARY KEY (service, position)) WITHOUT ROWID;
CREATE INDEX deliveries_by_due ON deliveries (due);
INSERT INTO deliveries (service, position, subject, due) VALUES
    ('a', 1, 'x', 0), ('a', 2, 'x', 0), ('a', 3, 'y', 0), ('b', 2, 'x', 0);
"""


def test_a_file_of_before_there_were_heads_gets_them(tmp_path: Path):
    path = tmp_path / "kuznia.db"
    older = sqlite3.connect(path)
    older.executescript(OLDER)
    older.close()
    for _ in range(2):
        database = open_database(path)
        assert database.read(heads) == [("a", "x", 1), ("a", "y", 3), ("b", "x", 2)]
        database.close()
