"""Every query has the index that production will demand; the emulator never asks for one."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from tests.emulators import there

pytestmark = pytest.mark.skipif(
    not there("google.cloud.firestore"), reason="needs Google's clients: make contracts"
)
if there("google.cloud.firestore"):
    from shared.google import indexes, queries

GOOGLE = Path(__file__).parents[3] / "shared" / "google"


def test_the_file_is_what_the_queries_need():
    assert json.loads(indexes.FILE.read_text()) == indexes.document(), "run: python -m shared.google.indexes"


def test_every_function_that_makes_queries_is_among_the_shapes():
    made = {
        name
        for name, f in inspect.getmembers(queries, inspect.isfunction)
        if "client" in inspect.signature(f).parameters
    }
    asked = set(re.findall(r"queries\.(\w+)\(", inspect.getsource(indexes.every_query)))
    assert made == asked


def test_no_query_is_made_elsewhere():
    elsewhere = [path.name for path in GOOGLE.glob("*.py") if path.name != "queries.py"]
    found = {name for name in elsewhere if re.search(r"\.(where|order_by)\(", (GOOGLE / name).read_text())}
    assert found == set()


@pytest.mark.parametrize(
    ("collection", "fields"),
    [
        ("deliveries", ["service", "lane", "at", "slot"]),
        ("deliveries", ["service", "due"]),
        ("records", ["status", "key"]),
        ("events", ["name", "subject", "at", "slot", "time"]),
    ],
)
def test_some_that_are_surely_needed(collection: str, fields: list[str]):
    known = [
        (i["collectionGroup"], [f["fieldPath"] for f in i["fields"]]) for i in indexes.document()["indexes"]
    ]
    assert (collection, fields) in known


def test_positions_come_back_and_fit_a_javascript_number():
    at = queries.place(queries.position(queries.datetime(2039, 1, 1, tzinfo=queries.UTC), 4095))
    assert at == {"at": queries.datetime(2039, 1, 1, tzinfo=queries.UTC), "slot": 4095}
    assert queries.position(at["at"], 4095) < 2**53
