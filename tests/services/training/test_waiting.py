"""Runs that wait for each other, and hours that run out: the real services, and a cluster that plays along."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.quota_set import QuotaSet
from events.retry_requested import RetryRequested
from events.training_finished import TrainingFinished
from services.training.queue import Entry
from services.training.slots import KEY, Slots
from shared.delivery import handle, sweep
from shared.errors import Reject
from shared.ports.cluster import Workload
from shared.record import Dead, Record
from tests.services.chain import Pods, World, committed, experiment


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Pods train until a test says that they are done."""
    return World(tmp_path, Pods(training="silent", measuring="silent"))


class Runs:
    """Experiments of one tenant that differ in their version."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._folder = folder
        self._count = 0

    def push(self, resources: str = "") -> str:
        """One more, with these lines among its resources; its run's id."""
        self._count += 1
        folder = experiment(self._folder, version=f"1.{self._count}.0")
        texts = {**folder.texts}
        texts["model.yaml"] = texts["model.yaml"].replace("  hours: 1\n", f"  hours: 1\n{resources}")
        run = self.world.commit(committed(msgspec.structs.replace(folder, texts=texts)))
        settle(self.world)
        return run

    def quota(self, tenant: str = "team-x", **limits: Any) -> None:
        word = QuotaSet(tenant=tenant, by="ann", **limits)
        self.world.say(word, f"quotas/{tenant or '_all'}")
        settle(self.world)

    def finish(self, run: str, outcome: str = "succeeded", cause: str = "") -> None:
        job = self.world.store.load(f"runs/{run}").data["job"]
        said = TrainingFinished(run_id=run, attempt=1, outcome=outcome, cause=cause, job=job)  # type: ignore[arg-type]
        self.world.say(said, f"runs/{run}", source="/kuznia/pod")
        settle(self.world)

    def retry(self, run: str, budget_hours: float | None = None) -> None:
        self.world.say(RetryRequested(run_id=run, by="ann", budget_hours=budget_hours), f"runs/{run}")
        settle(self.world)

    def status(self, *runs: str) -> list[str]:
        return [self.world.status(f"runs/{run}") for run in runs]

    def data(self, run: str) -> dict[str, Any]:
        return self.world.store.load(f"runs/{run}").data

    def later(self, **time: float) -> None:
        """So much time passes; what is due is done."""
        self.world.clock.moment += timedelta(**time)
        self.world.driver.run(sweep(self.world.services, 0))
        settle(self.world)


@pytest.fixture
def runs(world: World, tmp_path: Path) -> Runs:
    return Runs(world, tmp_path)


def settle(world: World) -> None:
    """Handle every delivery; what is delayed stays so."""
    while deliveries := world.bus.lease(1):
        for delivery in deliveries:
            world.driver.run(handle(world.services[delivery.service], delivery, 3))


class TestQueue:
    def test_without_a_quota_nobody_waits(self, runs: Runs):
        assert runs.status(runs.push(), runs.push()) == ["TRAINING", "TRAINING"]

    @pytest.mark.parametrize("tenant", ["team-x", ""])
    def test_who_finds_no_slot_waits_and_says_so(self, runs: Runs, tenant: str):
        runs.quota(tenant, runs=1)
        first, second, third = runs.push(), runs.push(), runs.push()
        assert runs.status(first, second, third) == ["TRAINING", "QUEUED", "QUEUED"]
        who = tenant or "the installation"
        assert runs.data(third)["queue"]["why"] == f"{who} trains 1 of 1 at once"
        assert (runs.data(third)["queue"]["place"], runs.data(third)["queue"]["waiting"]) == (2, 2)
        assert len(runs.world.said("training-started")) == 1
        assert len(runs.world.cluster.applied) == 2, "the job, and the base model's measurement"

    @pytest.mark.parametrize("outcome", ["succeeded", "failed"])
    def test_who_is_next_starts_when_one_ends(self, runs: Runs, outcome: str):
        runs.quota(runs=1)
        first, second, third = runs.push(), runs.push(), runs.push()
        runs.finish(first, outcome)
        assert runs.status(second, third) == ["TRAINING", "QUEUED"]
        assert runs.data(second)["queue"] == {}

    def test_preempted_it_keeps_its_slot(self, runs: Runs):
        runs.quota(runs=1)
        first, second = runs.push(), runs.push()
        runs.finish(first, "preempted")
        assert runs.status(first, second) == ["TRAINING", "QUEUED"]

    def test_a_raised_quota_calls_who_waits(self, runs: Runs):
        runs.quota(runs=0)
        first, second, third = runs.push(), runs.push(), runs.push()
        runs.quota(runs=2)
        assert runs.status(first, second, third) == ["TRAINING", "TRAINING", "QUEUED"]
        assert [entry["by"] for entry in runs.world.store.load("quotas/team-x").data["history"]] == [
            "ann",
            "ann",
        ]

    def test_a_lowered_one_stops_nobody(self, runs: Runs):
        first, second = runs.push(), runs.push()
        runs.quota(runs=1)
        third = runs.push()
        runs.finish(first)
        assert runs.status(second, third) == ["TRAINING", "QUEUED"]
        runs.finish(second)
        assert runs.status(third) == ["TRAINING"]

    def test_what_is_urgent_goes_first(self, runs: Runs):
        runs.quota(runs=1)
        first, low, normal, high = (
            runs.push(f"  priority: {priority}\n") for priority in ("normal", "low", "normal", "high")
        )
        started = [first]
        for _ in range(3):
            runs.finish(started[-1])
            started += [run for run in (low, normal, high) if runs.status(run) == ["TRAINING"]]
        assert started == [first, high, normal, low]

    def test_a_retry_queues_again(self, runs: Runs):
        runs.quota(runs=1)
        first, second, third = runs.push(), runs.push(), runs.push()
        runs.finish(first, "failed", "the disk is full")
        runs.retry(first)
        assert runs.status(first, second, third) == ["QUEUED", "TRAINING", "QUEUED"]
        runs.finish(second)
        assert runs.status(first, third) == ["QUEUED", "TRAINING"], "behind who asked before"

    def test_if_nobody_calls_it_asks_by_itself(self, runs: Runs):
        """As if the call were lost with the database's last page."""
        runs.quota(runs=1)
        first, second = runs.push(), runs.push()
        runs.later(minutes=2)  # it has looked again soon after it was queued, and does so but once
        ended = runs.world.store.load(f"runs/{first}")
        runs.world.store.commit(msgspec.structs.replace(ended, status="FAILED"))
        runs.later(minutes=59)
        assert runs.status(second) == ["QUEUED"]
        runs.later(minutes=2)
        assert runs.status(second) == ["TRAINING"]

    def test_while_it_waits_it_asks_once_an_hour_and_no_more(self, runs: Runs):
        runs.quota(runs=1)
        runs.push()
        second = runs.push()
        for _ in range(3):
            runs.quota(runs=1, reason="again")
        asked = len(runs.world.said("training-queued"))
        runs.later(minutes=61)
        runs.later(minutes=61)
        assert len(runs.world.said("training-queued")) == asked + 2
        assert len(runs.world.store.load(f"runs/{second}").outbox) == 1

    def test_who_died_in_the_queue_holds_up_nobody(self, runs: Runs):
        runs.quota(runs=1)
        first, second, third = runs.push(), runs.push(), runs.push()
        dead = runs.world.store.load(f"runs/{second}")
        mark = Dead(event="e-1", cause="a bug", at=runs.world.clock.now())
        runs.world.store.commit(msgspec.structs.replace(dead, dead=mark))
        runs.finish(first)
        assert runs.status(third) == ["TRAINING"]
        assert list(runs.world.store.load(KEY).data["waiting"]) == [
            second
        ]  # its place, should it be redriven

    def test_who_ends_while_it_asks_is_told_so(self, runs: Runs):
        runs.quota(runs=1)
        runs.push()
        store, waits = runs.world.store, runs.push()
        entry = msgspec.convert(store.load(KEY).data["waiting"][waits], Entry)

        class EndsMeanwhile:
            asked = 0
            commit = staticmethod(store.commit)

            def load(self, key: str) -> Record:
                record = store.load(key)
                self.asked += key == f"runs/{waits}"
                over = self.asked > 1 and key == f"runs/{waits}"
                return msgspec.structs.replace(record, status="FAILED") if over else record

        turn = Slots(EndsMeanwhile(), runs.world.clock).take(entry)  # type: ignore[arg-type]
        assert turn.word == "over"

    def test_one_that_the_cluster_will_never_run_gives_its_slot_back(self, runs: Runs):
        runs.quota(runs=1)
        first, second, third = runs.push(), runs.push(), runs.push()
        apply = runs.world.cluster.apply

        def choosy(workload: Workload) -> None:
            if workload.name == f"train-{second}":
                raise Reject("no node has 9 GPUs")
            apply(workload)

        runs.world.cluster.apply = choosy  # type: ignore[method-assign]
        runs.finish(first)
        assert runs.status(second, third) == ["FAILED", "TRAINING"]
        assert runs.data(second)["cause"] == "the cluster will not run it: no node has 9 GPUs"
        assert list(runs.world.store.load(KEY).data["running"]) == [third]

    def test_a_replay_of_everything_changes_nothing(self, runs: Runs):
        runs.quota(runs=1)
        first, _ = runs.push(), runs.push()
        runs.finish(first)
        before = runs.world.store.snapshot()
        for event in list(runs.world.bus.events):
            runs.world.replay(event)
        assert runs.world.store.snapshot() == before

    def test_less_than_nothing_is_no_quota(self, runs: Runs):
        word = QuotaSet(tenant="team-x", by="ann", runs=-1)
        event = runs.world.say(word, "quotas/team-x")
        service = runs.world.services["quotas"]
        with pytest.raises(Reject, match="less than none"):
            service.decide(runs.world.store.load("quotas/team-x"), event, runs.world.clock.now())


class TestHours:
    def test_they_are_counted_once_a_job_in_the_month_in_which_they_fell(self, runs: Runs):
        run = runs.push()
        runs.later(hours=3)
        runs.finish(run)
        assert runs.data(run)["gpu_hours"] == pytest.approx(3, abs=0.01)
        used = runs.world.store.load(KEY).data["used"]["2026-11"]["team-x"]
        assert used == pytest.approx(runs.data(run)["gpu_hours"])

    def test_a_tenant_without_hours_waits_for_the_next_month(self, runs: Runs):
        first = runs.push()
        runs.later(hours=2)
        runs.finish(first)
        runs.quota(gpu_hours=2)
        second = runs.push()
        assert runs.data(second)["queue"]["why"] == "team-x has used 2.0 of its 2 GPU hours of this month"
        runs.later(days=7)
        assert runs.status(second) == ["QUEUED"]
        runs.later(days=1)
        assert runs.status(second) == ["TRAINING"]


class TestBudget:
    def test_used_up_it_is_stopped_and_its_pod_may_save(self, runs: Runs):
        run = runs.push("  budget_hours: 2\n")
        runs.later(hours=1.9)
        assert runs.world.cluster.stopped == []
        runs.world.cluster.stop = runs.world.cluster.stopped.append  # type: ignore[method-assign]
        runs.later(hours=0.2)
        assert runs.world.cluster.stopped == [f"train-{run}"]
        assert runs.status(run) == ["TRAINING"], "it still saves"
        runs.finish(run, "preempted", "stopped on request")
        assert runs.status(run) == ["FAILED"]
        assert runs.data(run)["cause"] == (
            "budget: 2.10 of its 2 GPU hours are used up;"
            f" `kuznia retry {run} --budget-hours …` goes on from its last checkpoint"
        )
        last = runs.world.said("training-finished")[-1].data
        assert (last["outcome"], last["cause"]) == ("failed", runs.data(run)["cause"])

    def test_a_pod_that_says_nothing_any_more_is_spoken_for(self, runs: Runs):
        run = runs.push("  budget_hours: 2\n")
        runs.world.cluster.stop = lambda _name: None  # type: ignore[method-assign]
        runs.later(hours=2.1)
        runs.world.cluster.status = lambda _name: None  # type: ignore[method-assign]
        runs.later(seconds=59)
        assert runs.status(run) == ["TRAINING"]
        runs.later(seconds=2)
        assert runs.status(run) == ["FAILED"]
        assert runs.data(run)["cause"].startswith("budget: ")

    def test_weights_that_are_there_are_there(self, runs: Runs):
        """It was stopped between its weights and the word of its end."""
        run = runs.push("  budget_hours: 2\n")
        runs.world.cluster.stop = lambda _name: None  # type: ignore[method-assign]
        runs.later(hours=2.1)
        record = runs.world.store.load(f"runs/{run}")
        final = {"metrics": {"train_loss": 0.4}, "runtime": {}}
        runs.world.store.commit(msgspec.structs.replace(record, data={**record.data, "final": final}))
        runs.world.cluster.status = lambda _name: None  # type: ignore[method-assign]
        runs.later(minutes=2)
        assert (runs.status(run), runs.data(run)["metrics"]) == (["SUCCEEDED"], {"train_loss": 0.4})

    def test_it_goes_on_with_a_raised_budget_only(self, runs: Runs):
        run = runs.push("  budget_hours: 2\n")
        runs.later(hours=2.1)
        assert runs.status(run) == ["FAILED"]
        runs.retry(run)
        assert (runs.status(run), runs.data(run)["job"]) == (["FAILED"], f"train-{run}")
        runs.retry(run, budget_hours=3)
        assert (runs.status(run), runs.data(run)["job"]) == (["TRAINING"], f"train-{run}-2")
        runs.later(hours=0.5)
        assert runs.status(run) == ["TRAINING"]
        runs.later(hours=0.5)
        assert runs.status(run) == ["FAILED"], "3 hours in all"

    def test_time_between_attempts_costs_nothing(self, runs: Runs):
        run = runs.push("  budget_hours: 2\n")
        runs.later(hours=1)
        runs.finish(run, "preempted")
        runs.later(hours=5)
        job = runs.world.cluster.applied[f"train-{run}"]
        runs.world.cluster.change(job, "running", attempt=2)
        settle(runs.world)
        runs.later(hours=0.9)
        assert runs.status(run) == ["TRAINING"]
        runs.later(hours=0.2)
        assert runs.status(run) == ["FAILED"]

    def test_a_tenant_s_hours_end_what_trains(self, runs: Runs):
        first, second = runs.push(), runs.push()
        runs.later(hours=1)
        runs.quota(gpu_hours=3)
        runs.later(minutes=25)
        assert runs.status(first, second) == ["TRAINING", "TRAINING"]
        runs.later(minutes=10)
        assert runs.status(first, second) == ["FAILED", "FAILED"]
        assert "the GPU hours of team-x are used up for this month" in runs.data(first)["cause"]
        runs.retry(first)
        assert runs.status(first) == ["QUEUED"]
        runs.quota(gpu_hours=10)
        assert runs.status(first) == ["TRAINING"]
