"""The driver: every call is carried out and observed, and a point can be told to kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from shared.delivery import Ack, Again, Bury, Owing
from shared.errors import Conflict, Reject, Unknown
from shared.hosts.driver import Driver, unobserved
from shared.hosts.faults import VARIABLE, killer
from shared.ports.bus import Delivery
from shared.reaction import Commit, Load, Now, Perform, Publish
from shared.record import Do, Record
from shared.service import Ports, Service
from tests.contracts.adapters import ROOT, event
from tests.memory import START, ManualClock, MemoryBus, MemoryStore

DO = Do(id="do-1", effect="make", arguments={}, cause="e-1")


class Desk:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store, self.bus = MemoryStore(), MemoryBus(self.clock)
        self.points: list[str] = []
        self.error: Exception | None = None
        service = Service(
            name="toy",
            hears=(),
            says=(),
            owns="runs",
            key=lambda _: None,
            decide=lambda *_: None,
            effects=self.effects,
        )
        ports = Ports(store=self.store, artifacts=None, cluster=None, clock=self.clock, settings=None)  # type: ignore[arg-type]
        self.driver = Driver({"toy": service}, ports, self.bus, self.points.append)

    def effects(self, ports: Ports) -> dict[str, Any]:
        return {"make": self.make}

    def make(self, do: Do, record: Record) -> list[Any]:
        if self.error:
            raise self.error
        return [do, record]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def asking(*calls: Any) -> Generator[Any, Any, list[Any]]:
    answers = []
    for call in calls:
        answers.append((yield call))
    return answers


def test_it_carries_out_every_call_and_tells_before_and_after(desk: Desk):
    record = Record(key="runs/r-1", status="TRAINING")
    desk.bus.subscribe("toy", ["training-progressed"])
    answers = desk.driver.run(
        asking(Now(), Load("runs/r-1"), Commit(record), Publish((event(1),)), Owing(START))
    )
    assert answers[:2] == [START, Record(key="runs/r-1")]
    assert answers[2] == desk.store.load("runs/r-1")
    assert desk.bus.events == [event(1)]
    assert desk.driver.run(asking(Perform("toy", DO, record))) == [[DO, record]]
    assert desk.points == [
        f"{when}-{name}" for name in ("now", "load", "commit", "publish", "owing", "make") for when in ("before", "after")
    ]  # fmt: skip


def test_it_tells_the_bus_how_a_delivery_ended(desk: Desk):
    desk.bus.subscribe("toy", ["training-progressed"])
    desk.bus.publish([event(number, subject=f"runs/{number}") for number in range(3)])
    done, again, dead = desk.bus.lease(3)
    assert desk.driver.run(asking(Ack(done), Again(again, 5, "not yet"), Bury(dead, "never"))) == [True] * 3
    assert [item.error for item in desk.bus.pending] == ["not yet"]
    assert [letter.cause for letter in desk.bus.dead] == ["never"]
    assert isinstance(again, Delivery)


def test_errors_of_ours_go_into_the_reaction(desk: Desk):
    def reaction() -> Generator[Any, Any, str]:
        try:
            yield Commit(Record(key="runs/r-1", revision=7, status="TRAINING"))
        except Conflict as error:
            return str(error)
        return "none"

    assert desk.driver.run(reaction()) == "runs/r-1: revision is 0, not 7"
    assert desk.points == ["before-commit"]


def test_what_the_reaction_raises_comes_out(desk: Desk):
    desk.error = Reject("never")
    with pytest.raises(Reject, match="never"):
        desk.driver.run(asking(Perform("toy", DO, Record(key="runs/r-1"))))


def test_a_bug_in_an_effect_is_unknown_and_told_with_its_stack(desk: Desk, caplog: pytest.LogCaptureFixture):
    desk.error = KeyError("loss")
    with pytest.raises(Unknown, match="make: KeyError: 'loss'"):
        desk.driver.run(asking(Perform("toy", DO, Record(key="runs/r-1"))))
    assert "toy could not make for runs/r-1" in caplog.text
    assert "Traceback" in caplog.text


def test_without_the_variable_nothing_is_killed():
    assert killer({}) is unobserved
    assert killer({VARIABLE: ""}) is unobserved
    killer({})("before-commit")


@pytest.mark.parametrize(
    ("told", "passed"), [("after-commit:3", 2), ("after-commit", 0), ("before-load:1", None)]
)
def test_it_kills_at_the_nth_passing_of_a_point(told: str, passed: int | None, tmp_path: Path):
    script = (
        "import os\nfrom shared.hosts.faults import killer\nkill = killer(os.environ)\n"
        "for n in range(5):\n    kill('before-commit'); kill('after-commit'); print(n, flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, VARIABLE: told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (0 if passed is None else -signal.SIGKILL)
    assert len(done.stdout.split()) == (5 if passed is None else passed)
