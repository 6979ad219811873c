"""The causal tree: one root, every event below its cause, the times, and what waits or is dead."""

from __future__ import annotations

from shared.operations.reading import every_event, every_record, find_event, newest_events
from shared.operations.trace import Target, ancestors, children, marks_of, trace, walk
from shared.ports.bus import Query
from tests.services.chain import MODEL_ID
from tests.shared.operations.home import Home


def of_version(home: Home, version: str) -> Target:
    run = home.store.load(f"models/{MODEL_ID}@{version}").data["run_id"]
    records = frozenset({f"runs/{run}", f"models/{MODEL_ID}@{version}", f"evaluations/{MODEL_ID}@{version}"})
    return Target(subjects=records, keys=records)


def first(home: Home, name: str):
    return home.bus.log(Query(name=name))[0].event


def test_from_push_to_release_is_one_tree(home: Home) -> None:
    (root,) = trace(home.bus, home.operations, of_version(home, "1.1.0"))
    assert root.event.name == "push-received"
    assert [node.event.name for node in root.children] == ["config-committed"]
    names = {node.event.name for node in walk([root])}
    assert {"training-started", "checkpoint-written", "model-registered", "model-validated"} <= names
    assert {"card-rendered", "model-deployed"} <= names


def test_what_ended_it_is_a_tree_of_its_own(home: Home) -> None:
    """The first version was replaced by the second one's push."""
    own, other = trace(home.bus, home.operations, of_version(home, "1.0.0"))
    assert own.event.time < other.event.time
    assert "model-deprecated" not in {node.event.name for node in walk([own])}
    names = [node.event.name for node in walk([other])]
    assert names[0] == "push-received"
    assert names[-1] == "model-deprecated"
    assert "training-progressed" not in names


def test_every_event_stands_below_its_cause(home: Home) -> None:
    (root,) = trace(home.bus, home.operations, of_version(home, "1.1.0"))
    for node in walk([root]):
        for child in node.children:
            assert child.event.cause == node.event.id
            assert child.after == (child.event.time - node.event.time).total_seconds() >= 0
            assert child.since_root >= child.after


def test_an_event_shows_its_ancestors_and_what_followed(home: Home) -> None:
    registered = first(home, "model-registered")
    (root,) = trace(home.bus, home.operations, Target(event=registered.id))
    names = [node.event.name for node in walk([root])]
    assert names[:3] == ["push-received", "config-committed", "checkpoint-written"]
    assert "model-validated" in names
    assert "training-progressed" not in names  # a branch that does not lead here


def test_ancestors_and_children(home: Home) -> None:
    committed = first(home, "config-committed")
    assert [event.name for event in ancestors(home.bus, committed)] == ["push-received"]
    assert "training-started" in {event.name for event in children(home.bus, committed)}
    assert ancestors(home.bus, first(home, "push-received")) == []


def test_what_waits_and_what_is_dead_is_marked(home: Home) -> None:
    card = first(home, "card-rendered")
    home.operations.redeliver(card.id, "deployment")
    (delivery,) = home.bus.lease(1, 0)
    home.bus.bury(delivery, "a bug")
    home.operations.redeliver(card.id, "registration")
    marks = {(mark.who, mark.state): mark for mark in marks_of(home.bus, home.operations, card)}
    assert set(marks) == {
        ("models", "decided"),
        ("releases", "decided"),
        ("registration", "waiting"),
        ("deployment", "dead"),
    }
    assert marks["deployment", "dead"].what == "a bug"
    assert marks["models", "decided"].at >= card.time


def test_a_cause_that_is_lost_ends_the_chain(home: Home) -> None:
    committed = first(home, "config-committed")
    home.execute("DELETE FROM log WHERE id = ?", committed.cause)
    assert ancestors(home.bus, committed) == []
    assert list(home.operations.unparented()) == [(committed.id, committed.cause)]


def test_reading_goes_on_past_a_page(home: Home, monkeypatch) -> None:
    monkeypatch.setattr("shared.operations.reading.PAGE", 7)
    events = [logged.event for logged in every_event(home.bus)]
    assert len(events) == len(home.operations.snapshot().events) > 21
    newest = newest_events(home.bus, Query(), lambda event: event.name == "push-received", 5)
    assert [logged.event.name for logged in newest] == ["push-received"] * 2
    last = newest_events(home.bus, Query(), lambda _: True, 3)
    assert [logged.event for logged in last] == events[-3:]
    monkeypatch.setattr("shared.operations.reading.PAGE", 1)
    assert len(list(every_record(home.store, "runs"))) == 2
    assert find_event(home.bus, home.operations, events[0].id) == events[0]
