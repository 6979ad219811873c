"""GPU hours, from the moments at which attempts began and ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.training.usage import Attempt, began, by_month, ended, hours, interrupted, next_month, weight

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def later(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("resources", "counts"),
    [
        ({}, 1),
        ({"gpus": 0}, 1),
        ({"gpus": None, "nodes": 2}, 1),
        ({"gpus": 4}, 4),
        ({"gpus": 4, "nodes": 2}, 8),
    ],
)
def test_what_an_hour_counts(resources: dict[str, int], counts: int):
    assert weight(resources) == counts


def test_only_the_time_that_it_ran_counts():
    attempts = ended(began([], "train-r", 1, NOON), later(1))
    attempts = began(attempts, "train-r", 2, later(3))
    assert hours(attempts, 2, later(3.5)) == 3
    assert hours(ended(attempts, later(4)), 2, later(9)) == 4


def test_said_again_nothing_changes():
    attempts = began([], "train-r", 2, NOON)
    assert began(attempts, "train-r", 2, later(1)) == attempts
    assert began(attempts, "train-r", 1, later(1)) == attempts, "an earlier one, told late"
    over = ended(attempts, later(1))
    assert ended(over, later(2)) == over


def test_a_new_attempt_ends_the_one_that_nobody_saw_end():
    attempts = began(began([], "train-r", 1, NOON), "train-r", 2, later(1))
    assert [a["ended"] != "" for a in attempts] == [True, False]
    assert hours(attempts, 1, later(2)) == 2


def test_a_stop_that_is_told_late_does_not_end_the_next_attempt():
    attempts = began(began([], "train-r", 1, NOON), "train-r", 2, later(2))
    told = interrupted(attempts, later(1))
    assert [attempt["ended"] != "" for attempt in told] == [True, False]
    assert hours(told, 1, later(5)) == 5, "two of the first, three of the second so far"
    assert [attempt["ended"] for attempt in interrupted(began([], "train-r", 1, NOON), later(1))] == [
        later(1).isoformat()
    ]


def test_a_clock_that_is_set_back_takes_no_hours_away():
    assert hours(ended(began([], "train-r", 1, NOON), later(-1)), 1, NOON) == 0


def test_of_one_job():
    attempts = ended(began([], "train-r", 1, NOON), later(1))
    attempts = ended(began(attempts, "train-r-2", 1, later(5)), later(7))
    assert (hours(attempts, 1, later(9), "train-r"), hours(attempts, 1, later(9))) == (1, 3)


def test_by_month():
    attempts: list[Attempt] = ended(began([], "train-r", 1, NOON), later(12 + 31 * 24 + 6))
    assert by_month(attempts, 2, NOON, "train-r") == {"2026-11": 24, "2026-12": 31 * 48, "2027-01": 12}
    assert by_month(attempts, 2, NOON, "another") == {}


def test_the_month_after():
    assert next_month(NOON) == datetime(2026, 12, 1, tzinfo=UTC)
    assert next_month(later(24)) == datetime(2027, 1, 1, tzinfo=UTC)
