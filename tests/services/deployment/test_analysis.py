"""Percentiles from histograms, and what is sure enough to send a canary back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.traffic_measured import BOUNDS, Figures
from services.deployment.analysis import Tally, added, judged, quantile, summary, verdict
from services.deployment.plan import Canary

LIMITS = Canary()
NONE = Tally()


def slots(*times: float) -> tuple[int, ...]:
    found = [0] * (len(BOUNDS) + 1)
    for time in times:
        found[next((n for n, bound in enumerate(BOUNDS) if bound >= time), len(BOUNDS))] += 1
    return tuple(found)


class TestQuantile:
    def test_of_nothing_it_is_nothing(self):
        assert quantile(()) == quantile(slots()) == 0.0

    @given(st.lists(st.floats(0.001, 300), min_size=1, max_size=200))
    def test_it_lies_in_the_slot_of_the_true_one(self, times: list[float]):
        """Slots are 40 % apart, so it is never further off than that."""
        ordered = sorted(times)
        true = ordered[-(-95 * len(ordered) // 100) - 1]
        found = quantile(slots(*times))
        assert found <= max(true * 1.45, BOUNDS[0])
        assert found >= true / 1.45 or true <= BOUNDS[0]

    def test_what_is_above_all_bounds_is_the_last_bound(self):
        assert quantile(slots(1000.0)) == BOUNDS[-1]

    def test_of_even_times_it_lies_between_the_bounds(self):
        assert BOUNDS[9] < quantile(slots(*[0.12] * 100)) < BOUNDS[10]


class TestTally:
    def test_windows_add_up(self):
        tally = added(
            added(NONE, Figures(requests=2, errors=1, ttft=(1, 0))), Figures(requests=3, ttft=(0, 2, 1))
        )
        assert (tally.requests, tally.errors, tally.ttft) == (5, 1, (1, 2, 1))

    def test_scores_are_weighed_by_their_samples(self):
        tally = judged(judged(NONE, 10, 0.9), 30, 0.5)
        assert (tally.samples, tally.score) == (40, pytest.approx(0.6))
        assert summary(tally)["score"] == 0.6
        assert "score" not in summary(NONE)


class TestVerdict:
    def test_nothing_is_no_verdict(self):
        assert verdict(NONE, NONE, 50, LIMITS).word == "wait"

    def test_enough_and_no_fault_is_good(self):
        assert verdict(Tally(requests=50), Tally(requests=900), 50, LIMITS).word == "good"

    @pytest.mark.parametrize(("errors", "word"), [(1, "wait"), (2, "bad"), (9, "bad")])
    def test_errors_count_against_the_minimum(self, errors: int, word: str):
        assert verdict(Tally(requests=10, errors=errors), Tally(requests=900), 50, LIMITS).word == word

    def test_many_faults_are_told_at_once(self):
        slow = Tally(requests=60, errors=30, ttft=slots(*[2.0] * 30), latency=slots(*[20.0] * 30))
        fast = Tally(requests=60, ttft=slots(*[0.1] * 60), latency=slots(*[1.0] * 60))
        told = verdict(slow, fast, 50, LIMITS).reason
        assert told.count("; ") == 2
        assert "30 of 60 requests failed, 50.0%, where 0.0% of the live version's did" in told
        assert "and 1.5 times as long is allowed" in told
