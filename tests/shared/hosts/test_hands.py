"""Many deliveries in hand: their writes go out together, and none waits for, or fails with, another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from events.catalog import encode
from events.envelope import Event
from events.rollback_requested import RollbackRequested
from shared.errors import Retry
from shared.hosts.company import Written
from shared.hosts.embedded import THREADS, EmbeddedHost
from shared.hosts.hands import MOST
from shared.local import open_ports
from shared.reaction import Commit, Publish
from shared.record import Do, Record
from shared.service import Decision, Effect, Ports, Service, Speech, Wish
from shared.settings import Settings
from tests.contracts.adapters import PATIENCE, soon
from tests.memory import START


class House:
    """A host in company, on a home; the company notes what it carries. Names with `!` ask for an effect."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(
            home=home, cache=home, max_attempts=3, lease_seconds=2, reconcile_seconds=600
        )
        self.local = open_ports(self.settings)
        self.carried: list[Sequence[Written]] = []
        self.decided: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.makes: Callable[[str], None] = lambda name: None
        self.breaks: Callable[[Sequence[Written]], None] = lambda calls: None
        service = Service(
            name="toy",
            hears=("rollback-requested",),
            says=(),
            owns="runs",
            key=lambda event: f"runs/{event.data['model_id']}",
            decide=self._decide,
            effects=self._effects,
        )
        ports = Ports(
            store=self.local.store,
            artifacts=self.local.artifacts,
            cluster=None,  # type: ignore[arg-type]
            clock=self.local.clock,
            settings=self.settings,
        )
        self.host = EmbeddedHost({"toy": service}, ports, self.local.bus, company=self)

    def carry(self, calls: Sequence[Written]) -> Sequence[Any]:
        self.carried.append(calls)
        self.breaks(calls)
        return self.local.company.carry(calls)

    def say(self, *names: str) -> None:
        self.local.bus.publish([heard(name) for name in names])

    def done(self, *names: str) -> bool:
        records = [self.local.store.load(f"runs/{name}") for name in names]
        return all(record.revision and not record.outbox for record in records)

    def idle(self) -> bool:
        return self.local.bus.pending() == 0

    def _decide(self, _record: Record, event: Event, _now: Any) -> Decision:
        name = event.data["model_id"]
        self.decided[name] += 1
        return Decision(
            status="TRAINING", data={}, wishes=(Wish("make", {"name": name}),) if "!" in name else ()
        )

    def _effects(self, _ports: Ports) -> dict[str, Effect]:
        def make(do: Do, _record: Record) -> Sequence[Speech]:
            self.made[do.arguments["name"]] += 1
            self.makes(do.arguments["name"])
            return []

        return {"make": make}


def heard(name: str) -> Event:
    return Event(
        id=f"e-{name}",
        name="rollback-requested",
        source="/test",
        subject=f"releases/{name}",
        time=START,
        data=encode(RollbackRequested(model_id=name, version="1.0.0", by="ben")),
    )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.host.close()
    house.local.close()


def names(count: int, mark: str = "") -> list[str]:
    return [f"r-{number}{mark}" for number in range(count)]


def started(house: House, said: Sequence[str]) -> None:
    """What is said before the start is there to be lent at once."""
    house.host.subscribe()
    house.say(*said)
    house.host.start()


def test_what_many_write_goes_out_together(house: House):
    started(house, names(3 * MOST))
    assert soon(house.idle)
    assert max(len(calls) for calls in house.carried) > MOST // 2
    assert len(house.carried) < 3 * MOST  # one by one it would be twice as many as events
    assert house.decided == Counter(names(3 * MOST))


def test_an_effect_that_takes_long_holds_up_no_other_delivery(house: House):
    go_on = threading.Event()
    house.makes = lambda name: go_on.wait(PATIENCE) and None  # type: ignore[assignment, return-value]
    started(house, ["slow!", *names(20)])
    assert soon(lambda: house.done(*names(20)) and house.local.bus.pending() == 1)
    assert not house.done("slow!")
    go_on.set()
    assert soon(lambda: house.done("slow!") and house.idle())
    assert house.made == {"slow!": 1}


def test_while_effects_wait_for_a_thread_no_more_is_lent(house: House):
    go_on = threading.Event()
    house.makes = lambda name: go_on.wait(PATIENCE) and None  # type: ignore[assignment, return-value]
    said = names(3 * MOST, "!")
    started(house, said)
    assert soon(lambda: len(house.made) == THREADS)
    house.say("late")
    assert not house.done("late")
    assert len(house.decided) <= MOST
    go_on.set()
    assert soon(lambda: house.done(*said, "late") and house.idle())


def test_a_write_that_fails_is_one_delivery_s_alone(house: House):
    broken, spared = iter([Retry("the disk is full", after=0.01)]), house.local.company.carry

    def refuse(calls: Sequence[Written]) -> Sequence[Any]:
        answers = list(spared(calls))
        for place, call in enumerate(calls):
            if isinstance(call, Commit) and call.record.key == "runs/r-3" and (error := next(broken, None)):
                answers[place] = error
        return answers

    house.local.company.carry = refuse  # type: ignore[method-assign]
    started(house, names(10))
    assert soon(house.idle)
    # It was written, though the answer said no; so the second time it was known.
    assert house.decided == Counter(names(10))
    assert house.done(*names(10))


@pytest.mark.parametrize(
    "error", [Retry("the disk is full", after=0.01), KeyError("a bug")], ids=["retry", "bug"]
)
def test_a_company_that_fails_as_a_whole_fails_for_now(house: House, error: Exception):
    errors = iter([error])

    def breaks(calls: Sequence[Written]) -> None:
        if any(isinstance(call, Commit) for call in calls) and (found := next(errors, None)):
            raise found

    house.breaks = breaks
    started(house, names(10))
    assert soon(house.idle)
    assert house.done(*names(10))
    assert house.local.bus.dead_letters() == []


def test_where_not_even_the_outcome_can_be_written_the_lease_runs_out(
    house: House, caplog: pytest.LogCaptureFixture
):
    errors = iter([Retry("the disk is full")])

    def breaks(calls: Sequence[Written]) -> None:
        if not any(isinstance(call, Commit | Publish) for call in calls) and (found := next(errors, None)):
            raise found

    house.breaks = breaks
    started(house, ["one"])
    assert soon(house.idle)
    assert "not even the outcome" in caplog.text
    assert house.decided == {"one": 1}


def test_a_bug_that_strikes_every_write_of_a_delivery_ends_no_thread(house: House):
    house.breaks = lambda calls: (_ for _ in ()).throw(KeyError("loss"))
    started(house, ["one"])
    assert soon(lambda: len(house.carried) >= 3)
    house.breaks = lambda calls: None
    house.say("two")
    assert soon(lambda: house.done("one", "two") and house.idle())


def test_closed_it_first_does_what_is_in_hand(house: House):
    begun, go_on = threading.Event(), threading.Event()

    def makes(_name: str) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    house.makes = makes
    started(house, ["slow!"])
    assert begun.wait(PATIENCE)
    stopped, stop_leasing = threading.Event(), house.local.bus.stop_leasing

    def stop() -> None:  # only then is it sure that what is said stays
        stop_leasing()
        stopped.set()

    house.local.bus.stop_leasing = stop
    closing = threading.Thread(target=house.host.close)
    closing.start()
    assert stopped.wait(PATIENCE)
    house.say("late")
    go_on.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert house.done("slow!")
    assert not house.done("late")
