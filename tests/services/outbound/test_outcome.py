"""What becomes of a delivery: for days on end, and the same in a replayed world."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from services.outbound.outcome import PAUSES, SPREAD, Result, after, again, due, pause
from shared.lifecycle import guard
from shared.record import Record
from tests.memory import START

FAILED = Result(status=500, seconds=0.25, error="it answered 500")


def delivery(key: str = "deliveries/s-1/e-1") -> Record:
    data = {"subscriber": "s-1", "event": "e-1", "time": START.isoformat(), "tries": 0, "attempts": []}
    return Record(key=key, revision=1, status="PENDING", data=data)


def run(record: Record, *results: Result) -> tuple[Record, datetime]:
    """Attempts, each at the moment when it is due."""
    now = START
    for result in results:
        if record.status == "WAITING":
            now = datetime.fromisoformat(record.data["due"])
        assert due(record, now)
        written = after(record, result, now)
        guard(record, written)
        record = written
    return record, now


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_2xx_is_delivered(status: int):
    record, _ = run(delivery(), Result(status=status, seconds=0.0314))
    assert record.status == "DELIVERED"
    assert record.data["attempts"] == [
        {"at": START.isoformat(), "status": status, "milliseconds": 31, "error": ""}
    ]
    assert not due(record, START + timedelta(days=9))


@pytest.mark.parametrize("status", [0, 301, 400, 401, 404, 429, 500, 503])
def test_all_else_is_tried_later(status: int):
    record, _ = run(delivery(), Result(status=status, error="no"))
    assert record.status == "WAITING"
    assert not due(record, START)
    assert due(record, START + timedelta(seconds=PAUSES[0] * (1 + SPREAD)))


def test_for_about_three_days_and_then_given_up():
    results = [FAILED] * len(PAUSES)
    record, _ = run(delivery(), *results)
    assert record.status == "WAITING"
    record, end = run(delivery(), *results, FAILED)
    assert record.status == "FAILED"
    assert timedelta(days=2.5) < end - START < timedelta(days=4)
    assert record.data["tries"] == len(record.data["attempts"]) == len(PAUSES) + 1
    assert "due" not in record.data


def test_the_last_try_may_succeed():
    record, _ = run(delivery(), *[FAILED] * len(PAUSES), Result(status=200))
    assert record.status == "DELIVERED"


@pytest.mark.parametrize("result", [Result(status=410, error="gone"), Result(error="removed", hopeless=True)])
def test_what_is_hopeless_is_not_tried_again(result: Result):
    record, _ = run(delivery(), result)
    assert record.status == "FAILED"


def test_pauses_are_spread_but_never_by_chance():
    keys = [f"deliveries/s-1/e-{number}" for number in range(200)]
    pauses = [pause(key, 2, FAILED) for key in keys]
    assert pauses == [pause(key, 2, FAILED) for key in keys]
    assert min(pauses) >= PAUSES[1] * (1 - SPREAD)
    assert max(pauses) <= PAUSES[1] * (1 + SPREAD)
    assert max(pauses) - min(pauses) > PAUSES[1] * SPREAD
    assert len(set(pauses)) == len(keys)


@pytest.mark.parametrize(("asked", "least", "most"), [(60, 60, 60), (1, 4, 6), (10**9, 86400, 86400)])
def test_what_the_receiver_asks_for_is_kept_up_to_a_day(asked: float, least: float, most: float):
    assert least <= pause("deliveries/s-1/e-1", 1, Result(status=429, retry_after=asked)) <= most


def test_an_operator_may_have_anything_delivered_again():
    for results in ([Result(status=200)], [FAILED], [Result(status=410)]):
        record, now = run(delivery(), *results)
        anew = again(record, now)
        guard(record, anew)
        assert due(anew, now)
        assert (anew.status, anew.data["tries"], len(anew.data["attempts"])) == ("PENDING", 0, 1)
