"""Who may train now: order, limits, hours; as values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from services.training.queue import KEPT_MONTHS, Entry, Ledger, Limits, in_order, turns

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def entry(
    run: str, hours: float = 0, tenant: str = "team-x", priority: str = "normal", gpus: int = 1
) -> Entry:
    at = NOON + timedelta(hours=hours)
    return Entry(run=run, job=f"train-{run}", tenant=tenant, priority=priority, gpus=gpus, at=at)  # type: ignore[arg-type]


def ledger(*waiting: Entry, running: tuple[Entry, ...] = ()) -> Ledger:
    return Ledger(waiting={e.run: e for e in waiting}, running={e.run: e for e in running})


def order(*waiting: Entry, high: bool = True) -> list[str]:
    return [e.run for e in in_order(ledger(*waiting), {"team-x": Limits(high=high)})]


class TestOrder:
    def test_first_come_first_served(self):
        assert order(entry("c", 2), entry("a", 0), entry("b", 1)) == ["a", "b", "c"]

    def test_what_is_urgent_goes_first(self):
        assert order(entry("l", 0, priority="low"), entry("n", 1), entry("h", 2, priority="high")) == [
            "h",
            "n",
            "l",
        ]

    def test_who_has_waited_long_enough_goes_before_what_is_urgent_and_came_later(self):
        low, late = entry("low", 0, priority="low"), entry("high", 24.1, priority="high")
        assert order(late, low) == ["low", "high"]
        assert order(entry("normal", 0), entry("high", 8.1, priority="high")) == ["normal", "high"]

    def test_nobody_starves_under_a_stream_of_urgent_ones(self):
        """One slot, an hour a run, and every hour an urgent one more."""
        held = ledger(entry("low", 0, priority="low"))
        for hour in range(40):
            held = held.asked(entry(f"high-{hour:02}", hour, priority="high"))
            first = in_order(held, {})[0].run
            if first == "low":
                return
            held = held.granted(first, NOON + timedelta(hours=hour)).ended(first, {})
        pytest.fail("it waits for ever")

    def test_a_tenant_that_may_not_be_urgent_counts_as_normal(self):
        assert order(entry("n", 0), entry("h", 1, priority="high"), high=False) == ["n", "h"]

    def test_at_the_same_moment_the_name_decides(self):
        assert order(entry("b"), entry("a")) == ["a", "b"]


class TestTurns:
    def test_without_limits_all_may_start(self):
        assert turns(ledger(entry("a"), entry("b")), {}, NOON) == {"a": "", "b": ""}

    def test_a_tenant_s_limit_holds_back_its_own_runs_only(self):
        held = ledger(entry("a", 0), entry("b", 1), entry("o", 2, tenant="team-y"))
        found = turns(held, {"team-x": Limits(runs=1)}, NOON)
        assert found == {"a": "", "b": "team-x trains 1 of 1 at once", "o": ""}

    def test_the_installation_s_holds_for_all_together(self):
        held = ledger(entry("a", 1), entry("o", 2, tenant="team-y"), running=(entry("r"),))
        found = turns(held, {"": Limits(runs=2)}, NOON)
        assert found == {"a": "", "o": "the installation trains 2 of 2 at once"}

    def test_none_at_all(self):
        assert turns(ledger(entry("a")), {"team-x": Limits(runs=0)}, NOON) == {
            "a": "team-x trains 0 of 0 at once"
        }

    def test_hours_that_are_used_up(self):
        held = Ledger(
            waiting={"a": entry("a")}, used={"2026-11": {"team-x": 10.0}, "2026-10": {"team-x": 99.0}}
        )
        limits = {"team-x": Limits(gpu_hours=10)}
        assert turns(held, limits, NOON) == {"a": "team-x has used 10.0 of its 10 GPU hours of this month"}
        assert turns(held, limits, NOON + timedelta(days=8)) == {"a": ""}, "the month is over"

    def test_what_trains_uses_hours_too(self):
        held = ledger(entry("a"), running=(entry("r", -2, gpus=4),))
        assert held.spent("team-x", NOON) == 8
        assert turns(held, {"team-x": Limits(gpu_hours=8)}, NOON)["a"]
        assert not turns(held, {"team-x": Limits(gpu_hours=8.1)}, NOON)["a"]

    def test_of_a_run_over_the_end_of_a_month_only_what_falls_into_it(self):
        first = datetime(2026, 12, 1, 1, tzinfo=UTC)
        assert ledger(running=(entry("r", -2),)).spent("team-x", first) == 1

    @pytest.mark.parametrize("seed", range(20))
    def test_whoever_may_start_fits_together(self, seed: int):
        rand = Random(seed)
        tenants = ["team-x", "team-y", "team-z"]
        waiting = [entry(f"w{n}", rand.random(), rand.choice(tenants)) for n in range(12)]
        running = tuple(entry(f"r{n}", 0, rand.choice(tenants)) for n in range(rand.randrange(4)))
        limits = {tenant: Limits(runs=rand.randrange(4)) for tenant in ("", *tenants)}
        held = ledger(*waiting, running=running)
        while ready := [run for run, why in turns(held, limits, NOON).items() if not why]:
            assert all(not turns(held, limits, NOON)[run] for run in ready)
            held = held.granted(ready[0], NOON)
        mine = [e.tenant for e in held.running.values() if e.run.startswith("w")]
        before = [e.tenant for e in running]
        for tenant in tenants:
            assert mine.count(tenant) + before.count(tenant) <= max(
                limits[tenant].runs or 0, before.count(tenant)
            )
        assert len(mine) + len(before) <= max(limits[""].runs or 0, len(before))


class TestLedger:
    def test_from_asking_to_its_end(self):
        held = ledger().asked(entry("a", -1)).granted("a", NOON)
        assert (list(held.waiting), held.running["a"].at, held.job("a")) == ([], NOON, "train-a")
        held = held.ended("a", {"2026-11": 2.5})
        assert (held.running, held.used, held.job("a")) == ({}, {"2026-11": {"team-x": 2.5}}, "")

    def test_hours_of_who_never_had_a_slot_are_not_counted(self):
        assert ledger(entry("a")).ended("a", {"2026-11": 2.5}).used == {}

    def test_old_months_are_forgotten(self):
        held = ledger()
        for month in range(1, 13):
            for year in (2025, 2026):
                held = held.asked(entry("a")).granted("a", NOON).ended("a", {f"{year}-{month:02}": 1.0})
        assert len(held.used) == KEPT_MONTHS
        assert min(held.used) == "2025-12"
