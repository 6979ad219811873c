"""The pull worker on the emulators: long work keeps its lease, a stop loses nothing, a killer is put away."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from events.envelope import Event
from shared.hosts.pull import PullHost
from shared.ports.bus import Query
from shared.record import Record
from shared.service import Decision, Ports, Service
from shared.settings import Settings
from tests.contracts.adapters import Place, event, soon

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]
NAME = "training-progressed"
PROGRESS = {"run_id": "r-1", "attempt": 1, "phase": "training", "step": 1, "total_steps": 2}


class World:
    """One service whose `decide` does what a test wants."""

    def __init__(self, home: Path) -> None:
        self.place = Place("google", home)
        self.seen: list[str] = []
        self.act: Callable[[Event], None] = lambda _: None
        self.hosts: list[PullHost] = []

    def host(self, lease_seconds: float = 60) -> Any:
        opened = self.place.open(lease_seconds)
        service = Service(
            name="training",
            hears=(NAME,),
            says=(),
            owns="runs",
            key=lambda event: event.subject,
            decide=self.decide,
            effects=lambda _: {},
        )
        settings = Settings(
            home=self.place.home, cache=self.place.home, lease_seconds=lease_seconds, max_attempts=3
        )
        ports = Ports(store=opened.store, artifacts=None, cluster=None, clock=opened.clock, settings=settings)  # type: ignore[arg-type,attr-defined]
        host = PullHost({"training": service}, ports, opened.bus)  # type: ignore[arg-type]
        host.start()
        self.hosts.append(host)
        return opened

    def decide(self, record: Record, event: Event, now: datetime) -> Decision:
        self.seen.append(event.id)
        self.act(event)
        return Decision(status="TRAINING", data=record.data)

    def stop(self) -> None:
        for host in self.hosts:
            host.close()
        self.hosts.clear()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "home")
    yield world
    world.stop()
    world.place.close()


def said(number: int, subject: str = "runs/r-1") -> Event:
    return event(number, subject=subject, data=PROGRESS)


def test_work_that_outlasts_its_lease_is_not_given_to_another(world: World):
    kept, outlasted = itertools.count(1), threading.Event()

    def extend(bus: Any, delivery: Any) -> bool:
        found: bool = bus.extend_really(delivery)
        if next(kept) > 3:  # each a third of the lease after the one before
            outlasted.set()
        return found

    opened, other = world.host(lease_seconds=3), world.host(lease_seconds=3)
    for one in (opened, other):
        one.bus.extend_really = one.bus.extend
        one.bus.extend = partial(extend, one.bus)
    world.act = lambda _: outlasted.wait(60)
    opened.bus.publish([said(1)])
    assert soon(lambda: opened.store.load("runs/r-1").inbox == ("e-1",))
    assert soon(lambda: opened.bus.pending() == 0)
    assert world.seen == ["e-1"]


def test_a_stop_finishes_and_settles_what_is_in_hand_and_gives_back_the_rest(world: World):
    began, go_on = threading.Event(), threading.Event()

    def act(one_event: Event) -> None:
        if one_event.id == "e-0":
            began.set()
            go_on.wait(20)

    world.act = act
    opened = world.host()
    stop_leasing = opened.bus.stop_leasing

    def stop_leasing_and_go_on() -> None:  # only now is it sure that the stop came while e-0 was in hand
        stop_leasing()
        go_on.set()

    opened.bus.stop_leasing = stop_leasing_and_go_on
    opened.bus.publish([said(n) for n in range(3)])
    assert began.wait(20)
    stopping = threading.Thread(target=world.stop)
    stopping.start()
    stopping.join(30)
    assert not stopping.is_alive()
    assert opened.bus.pending() == 2
    opened.close()
    again = world.host()
    assert soon(lambda: again.bus.pending() == 0)
    assert world.seen == ["e-0", "e-1", "e-2"]


def test_two_workers_share_the_work_and_keep_the_order(world: World):
    opened, _ = world.host(), world.host()
    opened.bus.publish([said(n, f"runs/r-{n % 5}") for n in range(40)])
    assert soon(lambda: opened.bus.pending() == 0)
    assert sorted(world.seen) == sorted(f"e-{n}" for n in range(40))
    for subject in range(5):
        inbox = opened.store.load(f"runs/r-{subject}").inbox
        assert inbox == tuple(f"e-{n}" for n in range(40) if n % 5 == subject)


def test_a_bug_is_put_away_with_its_cause_and_the_worker_goes_on(world: World):
    def act(one_event: Event) -> None:
        if one_event.id == "e-1":
            raise ZeroDivisionError("oops")

    world.act = act
    opened = world.host()
    opened.bus.publish([said(1), said(2)])
    assert soon(lambda: opened.store.load("runs/r-1").inbox == ("e-2",))
    (letter,) = opened.bus.dead_letters()
    assert (letter.cause, letter.attempts) == ("ZeroDivisionError: oops", 3)


def test_one_that_was_begun_too_often_is_put_away_unheard(world: World):
    first = world.place.open(lease_seconds=0.05)
    first.bus.subscribe("training", [NAME])
    first.bus.publish([said(1)])
    for _ in range(3):  # three workers that die over it
        assert soon(lambda: first.bus.lease(1, 0))
    opened = world.host()
    assert soon(opened.bus.dead_letters)
    assert "begun 3 times" in opened.bus.dead_letters()[0].cause
    assert world.seen == []
    assert len(opened.bus.log(Query())) == 1
