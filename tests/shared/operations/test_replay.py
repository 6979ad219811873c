"""A replay of a healthy home changes nothing; the rehearsal says so beforehand, and what it would do elsewhere."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from events.envelope import Event
from shared.errors import Reject
from shared.operations.replay import Selection, rehearse, replay, select
from tests.services.chain import MODEL_ID, FakeCluster
from tests.shared.operations.home import Home
from tests.shared.operations.test_transfer import states


def chosen(home: Home, **selection: object) -> list[Event]:
    return select(home.bus, home.operations, Selection(**selection), home.clock.now())


def changes(home: Home, events: list[Event], *services: str):
    found = rehearse(home.services, home.store.load, events, services, (home.bus, home.clock.now()))
    return [change for change in found if not change.nothing]


def test_a_healthy_home_would_stay_as_it_is(home: Home) -> None:
    events = chosen(home)
    assert len(events) > 30
    assert changes(home, events) == []


def test_the_real_replay_changes_nothing_either(home: Home) -> None:
    before, log = states(home), len(home.operations.snapshot().events)
    home.cluster = FakeCluster(home)
    made = replay(home.services, home.operations, chosen(home), (), home.note("replay"))
    assert made == home.bus.pending() > 30
    home.pump()
    assert states(home) == before
    assert len(home.operations.snapshot().events) == log
    assert not home.cluster.applied


def test_it_is_noted_and_ids_are_kept(home: Home) -> None:
    (event,) = chosen(home, name="config-committed", subject=home.store.list("runs")[0].key)
    body = home.bus.event(event.id)
    replay(home.services, home.operations, [event], (), home.note("replay", ids=[event.id]))
    (note,) = home.operations.notes("replay")
    assert (note.who, note.reason, note.detail) == ("Ann", "because", {"ids": [event.id]})
    assert [(w.event, w.service) for w in home.operations.waiting()] == [(body, "training")]


def test_what_waits_already_is_not_doubled(home: Home) -> None:
    events = chosen(home, name="card-rendered")
    first = replay(home.services, home.operations, events, (), home.note())
    assert first == 4  # two cards, for registration and deployment
    assert replay(home.services, home.operations, events, (), home.note()) == 0
    assert home.bus.pending() == 4


def test_only_the_service_that_is_wanted(home: Home) -> None:
    events = chosen(home, name="card-rendered")
    assert replay(home.services, home.operations, events, ("deployment",), home.note()) == 2
    with pytest.raises(Reject, match="no service is called deploy; there are: cards"):
        replay(home.services, home.operations, events, ("deploy",), home.note())


def test_a_lost_decision_is_seen_and_nothing_is_written(home: Home) -> None:
    """The record has forgotten its card: the rehearsal says what the event would do, and does not."""
    key = f"models/{MODEL_ID}@1.1.0"
    record = home.store.load(key)
    (card,) = chosen(home, name="card-rendered", subject=key)
    without = {name: value for name, value in record.data.items() if not name.startswith("card_")}
    home.overwrite(
        msgspec.structs.replace(record, data=without, inbox=tuple(i for i in record.inbox if i != card.id))
    )
    before = states(home)
    (change,) = changes(home, [card])
    assert (change.service, change.key, change.known) == ("registration", key, False)
    assert change.changes["card_digest"] == (None, record.data["card_digest"])
    assert states(home) == before


def test_a_whole_chain_is_rehearsed_upon_itself(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Against an empty store: later events build on what earlier ones would have made."""
    fresh = Home(tmp_path_factory.mktemp("fresh"))
    found = rehearse(home.services, fresh.store.load, chosen(home), (), (home.bus, home.clock.now()))
    asked = [effect for change in found for effect in change.asked]
    assert asked.count("launch") == 2
    assert asked.count("serve") == 2
    assert asked.count("measure") == 4
    assert not any(change.fault for change in found)
    fresh.close()


def test_faults_are_told(home: Home) -> None:
    (event,) = chosen(home, name="model-deployed", subject=f"models/{MODEL_ID}@1.0.0")
    lost = msgspec.structs.replace(event, id="lost", data={**event.data, "version": "7.0.0"})
    (change,) = changes(home, [lost], "registration")
    assert change.fault == f"Retry: models/{MODEL_ID}@7.0.0 is not registered yet"


class TestRefusals:
    def test_the_future(self, home: Home) -> None:
        later = home.clock.now() + timedelta(seconds=1)
        with pytest.raises(Reject, match=r"--until .* is in the future"):
            chosen(home, until=later)
        with pytest.raises(Reject, match=r"--since .* is in the future"):
            chosen(home, since=later)

    def test_an_event_of_the_future(self, home: Home) -> None:
        home.clock.move(-86400)
        with pytest.raises(Reject, match="of the future, such as push-received"):
            chosen(home)

    def test_what_is_older_than_a_compaction(self, home: Home) -> None:
        events = chosen(home)
        horizon = events[10].time
        home.operations.note(home.note("compact", before=horizon))
        with pytest.raises(Reject, match="inboxes were compacted"):
            chosen(home)
        assert chosen(home, since=horizon)

    def test_an_id_that_is_none(self, home: Home) -> None:
        with pytest.raises(Reject, match="no event has an id 'zzz'"):
            chosen(home, ids=("zzz",))

    def test_an_id_that_is_several(self, home: Home) -> None:
        ids = sorted(event.id for event in chosen(home))
        prefix = next(a[0] for a, b in pairwise(ids) if a[0] == b[0])
        with pytest.raises(Reject, match="several events"):
            chosen(home, ids=(prefix,))
        assert [event.id for event in chosen(home, ids=(ids[0][:18],))] == [ids[0]]
