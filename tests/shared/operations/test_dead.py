"""What was given up is seen, brought back, or put away, and nothing of that is forgotten."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.delivery import sweep
from shared.errors import Reject
from shared.hosts.driver import Driver
from shared.operations.dead import discard, given_up, one, redrive
from shared.ports.bus import Query
from shared.ports.cluster import Status, Workload
from shared.service import Ports
from tests.services.chain import MODEL_ID
from tests.shared.operations.home import Home


class Refusing:
    """A cluster that has something else under each name, until it is mended."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.broken = True

    def apply(self, workload: Workload) -> None:
        if self.broken:
            raise Reject(f"no room for {workload.name}")
        self._home.cluster.apply(workload)

    def status(self, name: str) -> Status | None:
        return Status(name=name, kind="job", phase="running", attempt=1) if self.broken else None

    def stop(self, name: str) -> None:
        self._home.cluster.stop(name)


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[tuple[Home, Refusing, str]]:
    """A home whose cluster refused the job of a run; the run."""
    home = Home(tmp_path / "broken")
    cluster = Refusing(home)
    fields: dict[str, Any] = {name: getattr(home.ports, name) for name in Ports.__struct_fields__}
    home.driver = Driver(home.services, Ports(**{**fields, "cluster": cluster}), home.bus)
    run = home.train(tmp_path)
    yield home, cluster, run
    home.close()


def test_a_healthy_home_has_none(home: Home) -> None:
    assert given_up(home.ward) == []


def test_letter_and_record_are_one(broken: tuple[Home, Refusing, str]) -> None:
    home, _, run = broken
    (given,) = given_up(home.ward)
    assert given.cause == f"no room for train-{run}"
    assert (given.service, given.key, given.status, given.dead) == (
        "training",
        f"runs/{run}",
        "QUEUED",
        True,
    )
    assert given.owes == ("launch",)
    assert (given.letter, given.attempts) == (True, 1)


def test_redriven_once_the_cause_is_mended_it_lives(broken: tuple[Home, Refusing, str]) -> None:
    home, cluster, run = broken
    (given,) = given_up(home.ward)
    cluster.broken = False
    assert redrive(home.ward, [given], 0, home.note("redrive")) == 1
    home.pump()
    record = home.store.load(f"runs/{run}")
    assert (record.status, record.dead, record.outbox) == ("SUCCEEDED", None, ())
    assert record.inbox.count(given.event.id) == 1
    assert given_up(home.ward) == []
    assert [note.action for note in home.operations.notes()] == ["redrive"]


def test_redriven_too_early_it_dies_again(broken: tuple[Home, Refusing, str]) -> None:
    home, _, run = broken
    redrive(home.ward, given_up(home.ward), 0, home.note())
    home.pump()
    (again,) = given_up(home.ward)
    assert again.owes == ("launch",)
    assert home.store.load(f"runs/{run}").dead


def test_a_dead_record_without_a_letter_is_seen_and_redriven(broken: tuple[Home, Refusing, str]) -> None:
    home, cluster, run = broken
    (given,) = given_up(home.ward)
    home.operations.discard(given.event.id, "training")
    (marked,) = given_up(home.ward)
    assert not marked.letter
    assert marked.key == f"runs/{run}"
    cluster.broken = False
    redrive(home.ward, [marked], 0, home.note())
    home.pump()
    assert home.store.load(f"runs/{run}").status == "SUCCEEDED"


def test_discarded_it_is_never_done(broken: tuple[Home, Refusing, str]) -> None:
    home, cluster, run = broken
    (given,) = given_up(home.ward)
    discard(home.ward, given, home.note("discard", event=given.event.id, owed=given.owes))
    cluster.broken = False
    home.driver.run(sweep(home.services, 0))
    home.pump()
    record = home.store.load(f"runs/{run}")
    assert (record.dead, record.outbox) == (None, ())
    assert not home.cluster.applied
    assert given_up(home.ward) == []
    assert home.bus.event(given.event.id) == given.event
    (note,) = home.operations.notes("discard")
    assert note.detail["owed"] == ["launch"]


def test_a_rate_spreads_them(home: Home) -> None:
    events = [logged.event for logged in home.bus.log(Query())]
    letters = []
    for event in [event for event in events if event.name == "checkpoint-written"]:
        home.operations.redeliver(event.id, "training")
        (delivery,) = home.bus.lease(1, 0)
        home.bus.bury(delivery, "a bug")
    letters = given_up(home.ward, "A BUG")
    assert len(letters) == 4
    begun = time.time()
    assert redrive(home.ward, letters, 2, home.note()) == 4
    due = sorted(waiting.due.timestamp() for waiting in home.operations.waiting())
    assert [round(each - due[0], 1) for each in due] == pytest.approx([0, 0.5, 1.0, 1.5], abs=0.2)
    assert due[0] >= begun - 1


def test_only_of_a_cause(broken: tuple[Home, Refusing, str]) -> None:
    home, _, _ = broken
    assert len(given_up(home.ward, "no ROOM")) == 1
    assert given_up(home.ward, "no money") == []


def test_what_no_service_can_place_is_seen_too(home: Home) -> None:
    """An event that died of its payload, and one for a service that is gone."""
    first = home.store.load(f"models/{MODEL_ID}@1.0.0").inbox[0]
    event = home.bus.event(first)
    assert event
    odd = msgspec.structs.replace(event, id="odd", data={})
    home.bus.subscribe("gone", [event.name])
    home.bus.publish([odd])
    for delivery in home.bus.lease(9, 0):
        home.bus.bury(delivery, f"{delivery.service} cannot read it")
    found = {given.service: given for given in given_up(home.ward)}
    assert {"gone", "training", "registration"} <= set(found)
    assert (found["gone"].key, found["registration"].key) == ("", "")
    for given in found.values():
        discard(home.ward, given, home.note("discard"))
    assert given_up(home.ward) == []


def test_one_that_is_none(home: Home) -> None:
    with pytest.raises(Reject, match="nothing dead has an id 1234"):
        one(home.ward, "1234")
