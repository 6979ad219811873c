"""Compaction lets go of much and breaks nothing: no duplicate, replay or redrive does anything twice afterwards."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import msgspec
import pytest

from events.training_progressed import TrainingProgressed
from services.operations.checks import THOROUGH
from shared.errors import Conflict, Reject
from shared.operations.compaction import compact, plan
from shared.operations.doctor import examine
from shared.operations.replay import Selection, horizon, replay, select
from shared.ports.bus import Query
from tests.services.chain import MODEL_ID, FakeCluster
from tests.shared.operations.home import Home
from tests.shared.operations.test_transfer import brought, states, through_file


def without_inboxes(home: Home) -> dict[str, tuple[object, ...]]:
    return {key: (*state[:2], *state[3:]) for key, state in states(home).items()}


def compacted(home: Home, before: datetime | None = None) -> int:
    moment = before or home.clock.now()
    found = plan(home.operations.snapshot(), home.services, moment)
    compact(found, (home.operations, home.store), home.note("compact", before=moment))
    return found.entries


def progress(home: Home, steps: int) -> str:
    """A new run that says so many steps, then ends well."""
    home.pods.training = "silent"
    run = home.train(home.path.parent, version="2.0.0")
    for step in range(1, steps + 1):
        said = TrainingProgressed(run_id=run, attempt=1, phase="training", step=step, total_steps=steps)
        home.say(said, f"runs/{run}", "/kuznia/pod")
    home.pump()
    home.pods.training = "succeeded"
    home.cluster._train(home.cluster.applied[f"train-{run}"])
    home.pump()
    return run


def test_inboxes_are_let_go_and_state_stays(home: Home) -> None:
    before = without_inboxes(home)
    entries = compacted(home)
    assert entries > 30
    assert without_inboxes(home) == before
    assert all(not record.inbox for record in home.operations.snapshot().records)
    assert examine(home.patient(), THOROUGH) == []


def test_published_again_nothing_happens(home: Home) -> None:
    compacted(home)
    before = states(home)
    events = home.operations.snapshot().events
    home.bus.publish(random.Random(1).sample(list(events), len(events)))
    assert home.bus.pending() == 0
    assert states(home) == before


def test_replays_are_refused_up_to_the_horizon(home: Home) -> None:
    assert horizon(home.operations) is None
    moment = home.clock.now()
    compacted(home, moment)
    assert horizon(home.operations) == moment
    with pytest.raises(Reject, match="could be done twice"):
        select(home.bus, home.operations, Selection(), home.clock.now())
    run = progress(home, 3)
    later = select(home.bus, home.operations, Selection(since=moment), home.clock.now())
    states_before = states(home)
    home.cluster = FakeCluster(home)
    assert replay(home.services, home.operations, later, (), home.note("replay"))
    home.pump()
    assert states(home) == states_before
    assert home.store.load(f"runs/{run}").status == "SUCCEEDED"


def test_what_waits_or_is_dead_keeps_its_entry(home: Home) -> None:
    record = home.store.load(f"models/{MODEL_ID}@1.1.0")
    waits, dies = record.inbox[0], record.inbox[1]
    home.operations.redeliver(dies, "registration")
    (delivery,) = home.bus.lease(1, 0)
    home.bus.bury(delivery, "a bug")
    home.operations.redeliver(waits, "registration")
    compacted(home)
    assert set(home.store.load(record.key).inbox) == {waits, dies}


def test_only_what_is_old_goes(home: Home) -> None:
    before = states(home)
    assert compacted(home, home.clock.now() - timedelta(days=30)) == 0
    assert states(home) == before


def test_overtaken_progress_goes_from_the_log_and_the_last_stays(home: Home) -> None:
    run = progress(home, 40)
    before, count = without_inboxes(home), len(home.operations.snapshot().events)
    found = plan(home.operations.snapshot(), home.services, home.clock.now())
    compact(found, (home.operations, home.store), home.note("compact", before=home.clock.now()))
    said = home.bus.log(Query(name="training-progressed", subject=f"runs/{run}"))
    assert [logged.event.data["step"] for logged in said] == [40]  # and not 24, which came too late
    assert count - len(home.operations.snapshot().events) >= 40
    assert without_inboxes(home) == before
    assert examine(home.patient(), THOROUGH) == []


def test_nothing_but_progress_ever_leaves_the_log(home: Home) -> None:
    progress(home, 10)
    names = sorted(e.name for e in home.operations.snapshot().events if e.name != "training-progressed")
    compacted(home)
    left = sorted(e.name for e in home.operations.snapshot().events if e.name != "training-progressed")
    assert left == names


def test_dropped_progress_that_is_said_again_changes_nothing(home: Home) -> None:
    """A pod that had kept it for a month in its own spool."""
    run = progress(home, 10)
    old = [logged.event for logged in home.bus.log(Query(name="training-progressed"))]
    compacted(home)
    before = without_inboxes(home)
    home.bus.publish(old)
    assert home.bus.pending() > 0
    home.pump()
    after = without_inboxes(home)
    assert {key: state[:2] for key, state in after.items()} == {k: s[:2] for k, s in before.items()}
    assert home.store.load(f"runs/{run}").data["progress"]["step"] == 24


def test_a_compacted_home_is_rebuilt_from_its_log(home: Home) -> None:
    progress(home, 10)
    compacted(home)
    fresh = Home(home.path.parent / "fresh")
    brought(fresh, through_file(home.operations.snapshot()))
    assert without_inboxes(fresh) == without_inboxes(home)
    assert horizon(fresh.operations) == horizon(home.operations)
    fresh.close()


def test_a_record_that_is_written_meanwhile_is_tried_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, tries = home.store.commit, []

    def contended(record):
        tries.append(record.key)
        if len(tries) < 3:
            raise Conflict("somebody else was faster")
        return commit(record)

    found = plan(home.operations.snapshot(), home.services, home.clock.now())
    monkeypatch.setattr(home.store, "commit", contended)
    compact(found, (home.operations, home.store), home.note("compact", before=home.clock.now()))
    assert len(tries) == len(found.inboxes) + 2
    assert all(not record.inbox for record in home.operations.snapshot().records)


def test_a_record_the_log_does_not_explain_keeps_its_progress(home: Home) -> None:
    run = progress(home, 10)
    record = home.store.load(f"runs/{run}")
    home.overwrite(msgspec.structs.replace(record, data={**record.data, "cause": "written by hand"}))
    found = plan(home.operations.snapshot(), home.services, home.clock.now())
    assert not [e for e in found.events if home.bus.event(e).subject == f"runs/{run}"]
    assert any(f"runs/{run}" in line for line in found.kept)
