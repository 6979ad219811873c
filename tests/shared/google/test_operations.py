"""What operators do, on Firestore: look behind, deliver again, put away, take a copy and bring it in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.ports.bus import Query
from shared.ports.operations import Note
from shared.record import Record
from tests.contracts.adapters import Place, event
from tests.memory import START

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]
NAME = "training-progressed"
NOTE = Note(at=START, who="anna", action="replay", reason="why not", detail={"events": 3})


@pytest.fixture
def places(tmp_path: Path) -> Iterator[list[Place]]:
    places = [Place("google", tmp_path / name) for name in ("one", "two")]
    yield places
    for place in places:
        place.close()


@pytest.fixture
def ports(places: list[Place]) -> Any:
    opened = places[0].open()
    opened.bus.subscribe("training", [NAME])
    return opened


def test_find_and_unparented(ports: Any):
    ports.bus.publish([event(1), event(12, cause="e-1"), event(2, cause="gone")])
    assert ports.operations.find("e-1") == ["e-1", "e-12"]
    assert ports.operations.find("e-", limit=2) == ["e-1", "e-12"]
    assert ports.operations.unparented() == [("e-2", "gone")]


def test_waiting_tells_how_each_delivery_stands(ports: Any):
    ports.bus.publish([event(1), event(2, subject="runs/2")])
    first, _ = ports.bus.lease(2, 0)
    ports.bus.retry(first, 3600, "not yet")
    told = {waiting.event.id: waiting for waiting in ports.operations.waiting()}
    assert (told["e-1"].lent, told["e-1"].attempts, told["e-1"].error) == (False, 1, "not yet")
    assert (told["e-2"].lent, told["e-2"].attempts, told["e-2"].error) == (True, 1, "")
    assert told["e-1"].due > datetime.now(UTC)


def test_decisions_are_kept_by_the_commit_that_made_them(ports: Any):
    record = Record(key="runs/1", status="TRAINING", inbox=("e-1",), updated_at=START)
    record = ports.store.commit(record)
    ports.store.commit(msgspec.structs.replace(record, inbox=("e-1", "e-2")))
    ports.store.commit(Record(key="runs/2", status="TRAINING", inbox=("e-1",), updated_at=START))
    assert [(d.event, d.key, d.at) for d in ports.operations.decisions(event="e-1")] == [
        ("e-1", "runs/1", START),
        ("e-1", "runs/2", START),
    ]
    assert [d.event for d in ports.operations.decisions(key="runs/1")] == ["e-1", "e-2"]


def test_deliver_again(ports: Any):
    ports.bus.publish([event(1)])
    assert not ports.operations.redeliver("e-1", "training"), "it waits already"
    assert not ports.operations.redeliver("e-9", "training"), "there is none"
    (delivery,) = ports.bus.lease(1, 0)
    ports.bus.bury(delivery, "no")
    assert ports.operations.redeliver("e-1", "training")
    assert ports.bus.dead_letters() == []
    (delivery,) = ports.bus.lease(1, 20)
    assert (delivery.event, delivery.attempt) == (event(1), 1)


def test_put_away_and_note(ports: Any):
    ports.bus.publish([event(1)])
    ports.bus.bury(ports.bus.lease(1, 0)[0], "no")
    assert ports.operations.discard("e-1", "training")
    assert not ports.operations.discard("e-1", "training")
    assert ports.bus.dead_letters() == []
    ports.operations.note(NOTE)
    ports.operations.note(msgspec.structs.replace(NOTE, action="discard"))
    assert ports.operations.notes("replay") == [NOTE]
    assert len(ports.operations.notes()) == 2


def test_forget(ports: Any):
    ports.bus.publish([event(1), event(2)])
    ports.store.commit(Record(key="runs/1", status="TRAINING", inbox=("e-1",), updated_at=START))
    ports.operations.forget(["e-1"])
    assert [logged.event.id for logged in ports.bus.log(Query())] == ["e-2"]
    assert ports.operations.decisions(key="runs/1") == []


def test_a_copy_of_everything_can_be_brought_in_elsewhere(ports: Any, places: list[Place]):
    ports.bus.publish([event(n, subject=f"runs/{n}") for n in range(70)])
    ports.bus.bury(ports.bus.lease(1, 0)[0], "no")
    ports.store.commit(Record(key="runs/1", status="TRAINING", inbox=("e-1",), updated_at=START))
    ports.operations.note(NOTE)
    copy = ports.operations.snapshot()
    assert [len(part) for part in (copy.events, copy.records, copy.waiting, copy.dead, copy.notes)] == [
        70,
        1,
        69,
        1,
        1,
    ]
    other: Any = places[1].open()
    other.bus.subscribe("training", [NAME])
    other.operations.take(copy)
    other.operations.take(copy)
    again = other.operations.snapshot()
    assert list(again.events) == list(copy.events)
    assert list(again.dead) == list(copy.dead)
    assert {w.event.id for w in again.waiting} == {w.event.id for w in copy.waiting}
    assert list(again.notes) == [NOTE]
    assert list(again.records) == []
    assert len(other.bus.lease(100, 0)) == 69
