"""A home rebuilt from the log alone is the home that was."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from shared.delivery import sweep
from shared.errors import Reject, Retry
from shared.operations.archive import read, write
from shared.operations.rebuild import rebuild
from shared.operations.transfer import Plan, bring_in
from shared.ports.operations import Snapshot
from shared.record import Dead, Record
from tests.services.chain import MODEL_ID, Pods
from tests.shared.operations.home import BEGUN, Home


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Home]:
    opened = Home(tmp_path / "empty")
    yield opened
    opened.close()


def brought(home: Home, snapshot: Snapshot, **plan: bool):
    ports = (home.operations, home.store)
    return bring_in(snapshot, home.services, ports, Plan(**plan), home.note("import"))


def through_file(snapshot: Snapshot) -> Snapshot:
    file = io.BytesIO()
    write(snapshot, file, BEGUN)
    file.seek(0)
    return read(file)[1]


def state(record: Record) -> tuple[object, ...]:
    return (
        record.status,
        record.data,
        frozenset(record.inbox),
        [intent.id for intent in record.outbox],
        record.dead,
        record.created_at,
        record.updated_at,
    )


def states(home: Home) -> dict[str, tuple[object, ...]]:
    return {record.key: state(record) for record in home.operations.snapshot().records}


def with_claims_and_tokens(home: Home) -> None:
    """Records that no event makes; one of them is by now in its second status."""
    token = home.store.commit(
        Record(key="tokens/t-1", status="ACTIVE", data={"hash": "x"}, created_at=BEGUN, updated_at=BEGUN)
    )
    home.store.commit(msgspec.structs.replace(token, status="REVOKED", data={"hash": "x", "revoked": True}))


def test_every_record_is_the_same_again(home: Home, empty: Home) -> None:
    with_claims_and_tokens(home)
    result = brought(empty, through_file(home.operations.snapshot()))
    assert states(empty) == states(home)
    assert result.changed
    assert result.decisions == len(home.operations.snapshot().decisions)
    assert (result.waiting, result.owed) == (0, 0)


def test_the_log_alone_is_enough(home: Home, empty: Home) -> None:
    """Without a single record in the file, so that nothing can have been copied."""
    snapshot = msgspec.structs.replace(through_file(home.operations.snapshot()), records=[])
    brought(empty, snapshot)
    owned = {service.owns for service in home.services.values()}
    assert states(empty) == {k: v for k, v in states(home).items() if k.split("/")[0] in owned}


def test_no_effect_is_performed_and_nothing_is_said(home: Home, empty: Home) -> None:
    brought(empty, home.operations.snapshot())
    assert not empty.cluster.applied
    assert empty.bus.pending() == 0
    assert len(empty.operations.snapshot().events) == len(home.operations.snapshot().events)


def test_twice_is_once(home: Home, empty: Home) -> None:
    snapshot = through_file(home.operations.snapshot())
    brought(empty, snapshot)
    before = empty.operations.snapshot()
    assert not brought(empty, snapshot).changed
    assert empty.operations.snapshot() == before


def test_a_log_without_records_is_once_as_well(home: Home, empty: Home) -> None:
    snapshot = msgspec.structs.replace(home.operations.snapshot(), records=[])
    brought(empty, snapshot)
    assert not brought(empty, snapshot).changed


def test_an_import_that_was_killed_is_run_again(
    home: Home, empty: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_records: object) -> None:
        raise Retry("the disk is full")

    snapshot = home.operations.snapshot()
    with monkeypatch.context() as patched:
        patched.setattr(empty.store, "commit_all", killed)
        with pytest.raises(Retry):
            brought(empty, snapshot)
    assert not empty.operations.snapshot().records
    assert brought(empty, snapshot).changed
    assert states(empty) == states(home)


def test_what_waits_and_what_is_owed_is_done_later(tmp_path: Path, empty: Home) -> None:
    """A home exported in the middle goes on where it was."""
    busy = Home(tmp_path / "busy", Pods(training="silent"))
    run = busy.train(tmp_path)
    record = busy.store.load(f"runs/{run}")
    launched = _launch_is_owed(busy, record)
    shutil.copytree(busy.settings.artifacts, empty.settings.artifacts, dirs_exist_ok=True)
    result = brought(empty, through_file(busy.operations.snapshot()))
    assert result.owed == 1
    assert [intent.id for intent in empty.store.load(record.key).outbox] == [launched]
    assert not empty.cluster.applied
    empty.clock.move(3600)
    empty.driver.run(sweep(empty.services, 0))
    empty.pump()
    assert f"train-{run}" in empty.cluster.applied
    assert empty.store.load(f"models/{MODEL_ID}@1.0.0").status == "DEPLOYED"
    busy.close()


def _launch_is_owed(home: Home, record: Record) -> str:
    """Put the launch back into the outbox, as a crash just before it would have left it."""
    snapshot = home.operations.snapshot()
    events = {event.id: event for event in snapshot.events}
    first = [decided for decided in snapshot.decisions if decided.key == record.key][:1]
    steps = rebuild(home.services, events, first, lambda _key: _Everything()).steps
    launch = next(intent for intent in steps[0].outbox if getattr(intent, "effect", "") == "launch")
    home.store.commit(msgspec.structs.replace(record, outbox=(launch,)))
    return launch.id


class _Everything:
    def __contains__(self, _item: object) -> bool:
        return True


def test_cold_leaves_it_out(tmp_path: Path, empty: Home) -> None:
    busy = Home(tmp_path / "busy")
    run = busy.train(tmp_path)
    event = busy.bus.event(busy.store.load(f"runs/{run}").inbox[0])
    assert busy.operations.redeliver(event.id, "training")
    _launch_is_owed(busy, busy.store.load(f"runs/{run}"))
    warm = busy.operations.snapshot()
    assert len(warm.waiting) == 1
    result = brought(empty, warm, cold=True)
    assert (result.waiting, result.owed, empty.bus.pending()) == (0, 0, 0)
    assert not empty.store.load(f"runs/{run}").outbox
    busy.close()


def test_waiting_dead_and_marks_come_along(home: Home, empty: Home) -> None:
    record = home.store.load(f"models/{MODEL_ID}@1.1.0")
    waits, dies = record.inbox[1], record.inbox[2]
    home.operations.redeliver(dies, "registration")
    (delivery,) = home.bus.lease(1, 0)
    home.bus.bury(delivery, "a bug in it")
    mark = Dead(event=dies, cause="a bug in it", at=home.clock.now())
    home.store.commit(msgspec.structs.replace(record, dead=mark))
    home.operations.redeliver(waits, "registration")
    home.operations.note(home.note("replay", ids=[waits]))
    brought(empty, through_file(home.operations.snapshot()))
    assert states(empty) == states(home)
    assert [w.event.id for w in empty.operations.waiting()] == [waits]
    assert [(d.event.id, d.cause) for d in empty.bus.dead_letters()] == [(dies, "a bug in it")]
    assert [note.action for note in empty.operations.notes()] == ["replay", "import"]


class TestRefusals:
    def test_a_home_with_events_of_its_own(self, home: Home, empty: Home, tmp_path: Path) -> None:
        empty.train(tmp_path, version="9.0.0")
        before = states(empty)
        with pytest.raises(Reject, match="event\\(s\\) of its own"):
            brought(empty, home.operations.snapshot())
        assert states(empty) == before

    def test_a_home_whose_records_went_on(self, home: Home, empty: Home) -> None:
        snapshot = home.operations.snapshot()
        brought(empty, snapshot)
        record = empty.store.load("branches/experiments/main")
        empty.store.commit(msgspec.structs.replace(record, data={**record.data, "head": "f" * 40}))
        with pytest.raises(Reject, match="branches/experiments/main: head is"):
            brought(empty, snapshot)

    def test_a_file_whose_records_the_log_does_not_make(self, home: Home, empty: Home) -> None:
        snapshot = home.operations.snapshot()
        forged = [
            msgspec.structs.replace(r, data={**r.data, "approvals": [{"who": "nobody"}]})
            if r.key.startswith("models/")
            else r
            for r in snapshot.records
        ]
        with pytest.raises(Reject, match="approvals"):
            brought(empty, msgspec.structs.replace(snapshot, records=forged))
        assert not empty.operations.snapshot().events

    def test_differences_may_be_accepted(self, home: Home, empty: Home) -> None:
        snapshot = home.operations.snapshot()
        odd = [
            msgspec.structs.replace(r, status="FAILED") if r.key.startswith("runs/") else r
            for r in snapshot.records
        ]
        result = brought(empty, msgspec.structs.replace(snapshot, records=odd), accept=True)
        assert any("status is SUCCEEDED, was FAILED" in line for line in result.differences)
        assert {r.status for r in empty.store.list("runs")} == {"SUCCEEDED"}

    def test_a_decision_whose_event_is_missing(self, home: Home, empty: Home) -> None:
        snapshot = home.operations.snapshot()
        lost = snapshot.events[3]
        with pytest.raises(Reject, match="the log does not hold that event"):
            brought(
                empty, msgspec.structs.replace(snapshot, events=[e for e in snapshot.events if e != lost])
            )


class TestFile:
    def test_every_event_line_is_a_cloud_event(self, home: Home) -> None:
        file = io.BytesIO()
        header = write(home.operations.snapshot(), file, BEGUN)
        lines = [msgspec.json.decode(line) for line in file.getvalue().splitlines()]
        events = [line for line in lines if "specversion" in line]
        assert lines[0]["kuznia"] == "export"
        assert len(events) == header.counts["event"] == len(home.operations.snapshot().events)
        assert all(event["type"].startswith("dev.kuznia.") for event in events)

    def test_the_same_moment_gives_the_same_bytes(self, home: Home) -> None:
        first, second = io.BytesIO(), io.BytesIO()
        snapshot = home.operations.snapshot()
        write(snapshot, first, BEGUN)
        write(through_file(snapshot), second, BEGUN)
        assert first.getvalue() == second.getvalue()

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda lines: lines[:-1], "cut off or changed"),
            (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "cut off or changed"),
            (lambda lines: [lines[0], b"{}\n", *lines[1:]], "line 2 says neither"),
            (lambda lines: [lines[0], b"nonsense\n"], "line 2"),
            (lambda lines: lines[1:], "line 1"),
            (lambda lines: [], "line 1"),
            (lambda lines: [lines[0].replace(b'"version":1', b'"version":7'), *lines[1:]], "version 1"),
        ],
    )
    def test_damage_is_told(
        self, home: Home, damage: Callable[[list[bytes]], list[bytes]], said: str
    ) -> None:
        file = io.BytesIO()
        write(home.operations.snapshot(), file, BEGUN)
        with pytest.raises(Reject, match=said):
            read(damage(file.getvalue().splitlines(keepends=True)))
