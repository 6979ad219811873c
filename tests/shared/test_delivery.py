"""How a delivery ends, and what the sweep does, as generators answered by hand."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

from events.catalog import encode
from events.envelope import Event
from events.rollback_requested import RollbackRequested
from shared.delivery import Ack, Again, Bury, Owing, backoff, failed, handle, sweep
from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown
from shared.ports.bus import Delivery
from shared.reaction import Load, Now, Perform
from shared.record import Do, Record
from shared.service import Decision, Service, Wish
from tests.memory import START, MemoryStore

EVENT = Event(
    id="e-1",
    name="rollback-requested",
    source="/test",
    subject="releases/toy",
    time=START,
    data=encode(RollbackRequested(model_id="toy", version="1.0.0", by="ben")),
)


def service(error: Exception | None = None) -> Service:
    def decide(record: Record, event: Event, now: Any) -> Decision | None:
        if error:
            raise error
        return Decision(status="TRAINING", data={}, wishes=(Wish("make"),))

    return Service(
        name="toy",
        hears=("rollback-requested",),
        says=(),
        owns="runs",
        key=lambda event: "runs/toy",
        decide=decide,
        effects=lambda ports: {},
    )


def delivery(attempt: int = 1) -> Delivery:
    return Delivery(event=EVENT, service="toy", lease="l-1", attempt=attempt)


def answered(
    steps: Generator[Any, Any, Any], store: MemoryStore, **performs: KuzniaError
) -> tuple[list[Any], Any]:
    """What it asked of the bus, and what it returned."""
    asked, answer, error = [], None, None
    while True:
        try:
            call = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as stop:
            return asked, stop.value
        answer, error = None, None
        match call:
            case Now():
                answer = START
            case Load(key):
                answer = store.load(key)
            case Owing(before):
                answer = store.owing(before=before)
            case Perform(record=record):
                error = performs.get(record.name)
                answer = []
            case Ack() | Again() | Bury():
                asked.append(call)
            case _:
                answer = store.commit(call.record)


def test_done_it_is_struck_off():
    asked, _ = answered(handle(service(), delivery(), 8), MemoryStore())
    assert asked == [Ack(delivery())]


def test_refused_it_is_buried_with_its_cause():
    asked, _ = answered(handle(service(Reject("it names no model")), delivery(), 8), MemoryStore())
    assert asked == [Bury(delivery(), "it names no model")]


@pytest.mark.parametrize("error", [Retry("not yet"), Conflict("not yet"), Unknown("not yet")])
def test_otherwise_it_comes_again(error: KuzniaError):
    asked, _ = answered(handle(service(error), delivery(attempt=3), 8), MemoryStore())
    assert asked == [Again(delivery(attempt=3), 0.8, f"{type(error).__name__}: not yet")]


def test_when_the_error_says_so():
    asked, _ = answered(handle(service(Retry("not yet", after=12)), delivery(), 8), MemoryStore())
    assert asked[0].after == 12


def test_after_the_last_attempt_record_and_dead_letter_tell_why():
    store = MemoryStore()
    store.commit(Record(key="runs/toy", status="TRAINING"))
    asked, _ = answered(handle(service(Retry("not yet")), delivery(attempt=8), 8), store)
    assert asked == [Bury(delivery(attempt=8), "Retry: not yet")]
    dead = store.load("runs/toy").dead
    assert dead is not None
    assert (dead.event, dead.cause) == ("e-1", "Retry: not yet")


def test_a_bug_is_tried_again_as_well():
    asked, _ = answered(failed(service(), delivery(attempt=1), 8, KeyError("loss")), MemoryStore())
    assert asked == [Again(delivery(), 0.2, "KeyError: 'loss'")]


def test_pauses_double_up_to_a_minute():
    pauses = [backoff(attempt, KeyError()) for attempt in range(1, 13)]
    assert pauses[:4] == [0.2, 0.4, 0.8, 1.6]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60
    assert backoff(5, Retry("now", after=0)) == 0


class TestSweep:
    @pytest.fixture
    def store(self) -> MemoryStore:
        store = MemoryStore()
        for name, seconds in (("old", 60), ("older", 120), ("busy", 1)):
            intent = Do(id=f"do-{name}", effect="make", arguments={}, cause="e-1")
            updated = START - timedelta(seconds=seconds)
            store.commit(Record(key=f"runs/{name}", status="TRAINING", outbox=(intent,), updated_at=updated))
        stranger = Do(id="do-x", effect="x", arguments={}, cause="e-1")
        store.commit(
            Record(key="claims/x", status="CLAIMED", outbox=(stranger,), updated_at=START - timedelta(1))
        )
        return store

    def owing(self, store: MemoryStore) -> list[str]:
        return [record.name for record in store.owing(before=START + timedelta(days=1))]

    def test_it_drains_what_was_quiet_and_is_of_a_service(self, store: MemoryStore):
        _, faults = answered(sweep({"toy": service()}, 5), store)
        assert faults == []
        assert self.owing(store) == ["x", "busy"]

    @pytest.mark.parametrize(
        "error", [Retry("no room"), Reject("no room"), Unknown("no room"), Conflict("no room")]
    )
    def test_what_one_record_cannot_holds_back_no_other(self, store: MemoryStore, error: KuzniaError):
        _, faults = answered(sweep({"toy": service()}, 5), store, old=error)
        assert faults == [f"runs/old: {type(error).__name__}: no room"]
        assert "older" not in self.owing(store)
        assert bool(store.load("runs/old").dead) == isinstance(error, Reject)
