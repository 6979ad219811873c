"""What many reactions write at the same moment: one transaction, and still each a write of its own."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from shared.delivery import Ack, Again, Bury
from shared.errors import Conflict, Reject, Retry
from shared.hosts.company import WRITTEN
from shared.local import LocalPorts
from shared.local.company import _WORKS, SqliteCompany
from shared.ports.bus import Query
from shared.reaction import Commit, Publish
from shared.record import Record
from tests.contracts.adapters import PATIENCE, Place, event

NAME = "training-progressed"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place("sqlite", tmp_path / "home")
    yield place
    place.close()


@pytest.fixture
def ports(place: Place) -> LocalPorts:
    ports = place.open()
    assert isinstance(ports, LocalPorts)
    ports.bus.subscribe("training", [NAME])
    return ports


def record(name: str, **more: object) -> Record:
    return Record(key=f"runs/{name}", status="TRAINING", **more)  # type: ignore[arg-type]


def test_each_kind_of_write_does_what_the_port_s_own_does(ports: LocalPorts):
    ports.bus.publish([event(number, subject=f"runs/{number}") for number in range(3)])
    done, again, dead = ports.bus.lease(3, 0)
    answers = ports.company.carry(
        [
            Commit(record("a")),
            Publish((event(7),)),
            Ack(done),
            Again(again, 0, "not yet"),
            Bury(dead, "never"),
        ]
    )
    assert answers[0] == ports.store.load("runs/a") == record("a", revision=1)
    assert answers[2:] == [True, True, True]
    assert [letter.cause for letter in ports.bus.dead_letters()] == ["never"]
    assert {d.event.id: d.attempt for d in ports.bus.lease(9, 0)} == {again.event.id: 2, "e-7": 1}
    assert set(_WORKS) == set(WRITTEN)


def test_none_fails_for_another_s_fault(ports: LocalPorts):
    ports.store.commit(record("old"))
    ports.bus.publish([event(1)])
    (lent,) = ports.bus.lease(1, 0)
    assert ports.bus.ack(lent)
    unwritable = event("bad", subject="\ud800")
    answers = ports.company.carry(
        [
            Commit(record("a")),
            Commit(record("old")),
            Commit(Record(key="castles/a", status="BUILT")),
            Publish((event(8), unwritable)),
            Ack(lent),
            Publish((event(9),)),
        ]
    )
    assert [type(answer) for answer in answers[:4]] == [Record, Conflict, Reject, UnicodeEncodeError]
    assert answers[4] is False
    assert [logged.event.id for logged in ports.bus.log(Query())] == ["e-1", "e-9"]
    assert ports.store.load("runs/a").revision == 1


def test_two_that_write_one_record_at_once_conflict(ports: LocalPorts):
    first, second = ports.company.carry(
        [Commit(record("a", data={"by": 1})), Commit(record("a", data={"by": 2}))]
    )
    assert first == ports.store.load("runs/a")
    assert isinstance(second, Conflict)


@pytest.mark.parametrize("what", ["publish", "ack"])
def test_it_wakes_who_waits_to_lend(ports: LocalPorts, what: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shared.local.bus.POLL_SECONDS", PATIENCE)
    ports.bus.publish([event(1), event(2)])
    (first,) = ports.bus.lease(1, 0)
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.extend(d.event.id for d in ports.bus.lease(1, PATIENCE)))
    waiting.start()
    ports.company.carry([Ack(first) if what == "ack" else Publish((event(3, subject="runs/3"),))])
    waiting.join(PATIENCE / 2)
    assert found == ["e-2" if what == "ack" else "e-3"]


def test_closed_it_says_try_again_in_every_place(ports: LocalPorts):
    ports.close()
    answers = ports.company.carry([Commit(record("a")), Publish((event(1),))])
    assert [type(answer) for answer in answers] == [Retry, Retry]


def test_it_is_part_of_the_profile(ports: LocalPorts):
    assert isinstance(ports.company, SqliteCompany)


LENDING = """
import time
while lent := ports.bus.lease(7, 1.5):
    began = time.time_ns()
    time.sleep(0.002)
    for one in lent:
        ended = time.time_ns()
        if ports.bus.ack(one):
            print(one.event.subject, one.event.id, began, ended, flush=True)
"""


def test_processes_that_lend_side_by_side_do_each_once_and_in_order(place: Place, ports: LocalPorts):
    ports.bus.publish([event(number, subject=f"runs/{number % 12}") for number in range(240)])
    with place.child(LENDING) as one, place.child(LENDING) as two, place.child(LENDING) as three:
        lines = [line.split() for child in (one, two, three) for line in child.communicate()[0].splitlines()]
    assert sorted(line[1] for line in lines) == sorted(f"e-{number}" for number in range(240))
    by_subject = defaultdict(list)
    for subject, identity, began, ended in lines:
        by_subject[subject].append((int(began), int(ended), int(identity.removeprefix("e-"))))
    for spans in by_subject.values():
        spans.sort()
        assert [number for _, _, number in spans] == sorted(number for _, _, number in spans)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
