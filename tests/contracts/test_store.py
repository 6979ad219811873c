"""The contract of `shared.ports.store`, held by each adapter."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.errors import Conflict, Reject, Retry
from shared.lifecycle import TRANSITIONS
from shared.ports.store import Store
from shared.record import Dead, Do, Record, Say
from tests.contracts.adapters import NEEDS, PARAMETERS, PATIENCE, Opened, Place, event, small_disk
from tests.memory import START


@pytest.fixture(params=PARAMETERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param in NEEDS:
        request.getfixturevalue(NEEDS[request.param])
    place = Place(request.param, tmp_path / "home")
    yield place
    place.close()


@pytest.fixture
def opened(place: Place) -> Opened:
    return place.open()


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened.store


def run(name: str = "r-1", **changes: Any) -> Record:
    facts: dict[str, Any] = {"status": "TRAINING", "created_at": START, "updated_at": START}
    return Record(key=f"runs/{name}", **{**facts, **changes})


def owed() -> Do:
    return Do(id="do-1", effect="launch", arguments={"job": "train-r-1"}, cause="e-1")


class TestRecords:
    def test_what_is_not_there_has_revision_zero(self, store: Store):
        assert store.load("runs/r-1") == Record(key="runs/r-1")

    def test_all_of_a_record_is_kept(self, store: Store):
        record = run(
            data={"text": "żółw", "list": [1, 2.5, None, True], "nested": {"a": {"b": []}}},
            inbox=("e-1", "e-2"),
            outbox=(Say(event(1)), owed(), msgspec.structs.replace(owed(), id="do-2", not_before=START)),
            dead=Dead(
                event="e-2", cause="no", at=START, also=(Dead(event="e-3", cause="nor that", at=START),)
            ),
        )
        written = store.commit(record)
        assert written == msgspec.structs.replace(record, revision=1)
        assert store.load("runs/r-1") == written

    def test_each_commit_adds_one_to_the_revision(self, store: Store):
        record = store.commit(run())
        for expected in (2, 3, 4):
            record = store.commit(record)
            assert record.revision == expected

    @pytest.mark.parametrize("revision", [0, 2, 7])
    def test_another_revision_is_a_conflict_and_changes_nothing(self, store: Store, revision: int):
        kept = store.commit(run(data={"by": "first"}))
        with pytest.raises(Conflict, match=f"runs/r-1: revision is 1, not {revision}"):
            store.commit(run(revision=revision, data={"by": "second"}))
        assert store.load("runs/r-1") == kept

    def test_what_is_not_there_cannot_be_gone_on_with(self, store: Store):
        with pytest.raises(Conflict):
            store.commit(run(revision=3))
        assert store.load("runs/r-1").revision == 0

    def test_a_loaded_record_is_the_caller_s_own(self, store: Store):
        store.commit(run(data={"list": []}))
        store.load("runs/r-1").data["list"].append("spoilt")
        assert store.load("runs/r-1").data == {"list": []}


class TestGuard:
    """Whatever was decided, the store refuses what the lifecycle forbids, and nothing is written."""

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (None, run(status="SUCCEEDED")),
            (run(), run(status="REJECTED")),
            (None, Record(key="dreams/d-1", status="DREAMT")),
            (None, Record(key="models/m@1.0.0", status="DEPLOYED")),
            (None, Record(key="releases/m", status="ACTIVE", data={"live": "1.0.0", "versions": {}})),
        ],
        ids=[
            "beginning at the end",
            "not from there",
            "unknown kind",
            "ungated model",
            "unknown live version",
        ],
    )
    def test_an_illegal_change(self, store: Store, old: Record | None, new: Record):
        before = store.commit(old) if old else store.load(new.key)
        with pytest.raises(Reject, match=new.key):
            store.commit(msgspec.structs.replace(new, revision=before.revision))
        assert store.load(new.key) == before

    def test_all_legal_transitions_of_runs(self, store: Store):
        for number, (old, new) in enumerate(sorted(TRANSITIONS["runs"])):
            record = brought_to(store, Record(key=f"runs/r-{number}"), old)
            assert store.commit(msgspec.structs.replace(record, status=new)).status == new

    def test_a_conflict_is_told_before_a_refusal(self, store: Store):
        store.commit(run())
        with pytest.raises(Conflict):
            store.commit(run(status="REJECTED"))

    def test_one_that_is_refused_does_not_spoil_those_beside_it(self, store: Store):
        """Adapters may commit several writers' records together."""
        failures: list[Exception] = []

        def write(number: int) -> None:
            try:
                store.commit(run(f"r-{number}", status="TRAINING" if number % 2 else "SUCCEEDED"))
            except Reject as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=[number]) for number in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failures) == 12
        assert len(store.list("runs")) == 12


def brought_to(store: Store, record: Record, status: str) -> Record:
    """The record, committed by legal transitions until it has the status."""
    legal = sorted(TRANSITIONS[record.kind])
    ways: dict[str, list[str]] = {"": []}
    while status not in ways:
        ways |= {new: [*ways[old], new] for old, new in legal if old in ways and new not in ways}
    for step in ways[status]:
        record = store.commit(msgspec.structs.replace(record, status=step))
    return record


class TestList:
    @pytest.fixture(autouse=True)
    def records(self, store: Store) -> None:
        for name in ("b@1.0.0", "a@1.10.0", "a@1.2.0", "ab@1.0.0", "ż@1.0.0"):
            store.commit(Record(key=f"claims/{name}", status="CLAIMED"))
        store.commit(run("a@1.0.0"))
        store.commit(run("done", status="REJECTED"))

    def names(self, store: Store, kind: str, **query: Any) -> list[str]:
        return [record.name for record in store.list(kind, **query)]

    def test_of_a_kind_in_order_of_key(self, store: Store):
        assert self.names(store, "claims") == ["a@1.10.0", "a@1.2.0", "ab@1.0.0", "b@1.0.0", "ż@1.0.0"]
        assert self.names(store, "runs") == ["a@1.0.0", "done"]
        assert self.names(store, "run") == []
        assert self.names(store, "models") == []

    def test_by_prefix_of_the_name(self, store: Store):
        assert self.names(store, "claims", prefix="a@") == ["a@1.10.0", "a@1.2.0"]
        assert self.names(store, "claims", prefix="a") == ["a@1.10.0", "a@1.2.0", "ab@1.0.0"]
        assert self.names(store, "claims", prefix="ż") == ["ż@1.0.0"]
        assert self.names(store, "claims", prefix="%") == []

    def test_by_status(self, store: Store):
        assert self.names(store, "runs", status="REJECTED") == ["done"]
        assert self.names(store, "runs", status="FAILED") == []

    def test_page_by_page(self, store: Store):
        pages, after = [], ""
        while page := store.list("claims", after=after, limit=2):
            pages.append([record.name for record in page])
            after = page[-1].key
        assert pages == [["a@1.10.0", "a@1.2.0"], ["ab@1.0.0", "b@1.0.0"], ["ż@1.0.0"]]


class TestOwing:
    LATER = START + timedelta(minutes=5)

    def names(self, store: Store, before: datetime, **query: int) -> list[str]:
        return [record.name for record in store.owing(before=before, **query)]

    def test_only_what_owes_is_not_dead_and_was_quiet(self, store: Store):
        store.commit(run("paid"))
        store.commit(run("owing", outbox=(owed(),)))
        store.commit(run("dead", outbox=(owed(),), dead=Dead(event="e-1", cause="no", at=START)))
        store.commit(run("busy", outbox=(owed(),), updated_at=self.LATER))
        assert self.names(store, self.LATER) == ["owing"]
        assert self.names(store, self.LATER + timedelta(microseconds=1)) == ["owing", "busy"]
        assert self.names(store, START) == []

    def test_paid_it_owes_no_more_and_redriven_it_owes_again(self, store: Store):
        record = store.commit(run("one", outbox=(owed(),), dead=Dead(event="e-1", cause="no", at=START)))
        record = store.commit(msgspec.structs.replace(record, dead=None))
        assert self.names(store, self.LATER) == ["one"]
        store.commit(msgspec.structs.replace(record, outbox=()))
        assert self.names(store, self.LATER) == []

    def test_the_quietest_first_and_not_more_than_asked_for(self, store: Store):
        for minutes in (3, 1, 2):
            moment = START + timedelta(minutes=minutes)
            store.commit(run(f"r-{minutes}", outbox=(owed(),), updated_at=moment))
        assert self.names(store, self.LATER) == ["r-1", "r-2", "r-3"]
        assert self.names(store, self.LATER, limit=2) == ["r-1", "r-2"]

    def test_moments_of_all_zones_are_compared(self, store: Store):
        east, west = timezone(timedelta(hours=9)), timezone(timedelta(hours=-7))
        store.commit(run("east", outbox=(owed(),), updated_at=START.astimezone(east)))
        assert self.names(store, (START - timedelta(seconds=1)).astimezone(west)) == []
        assert self.names(store, (START + timedelta(seconds=1)).astimezone(west)) == ["east"]


COUNT = (
    "import msgspec\n"
    "from shared.errors import Conflict\n"
    "from shared.record import Record\n"
    "done = 0\n"
    "while done < int(sys.argv[3]):\n"
    "    record = ports.store.load('runs/r-1')\n"
    "    count = record.data.get('count', 0) + 1\n"
    "    try: ports.store.commit(msgspec.structs.replace(record, status='TRAINING', data={'count': count}))\n"
    "    except Conflict: continue\n"
    "    done += 1; print(record.revision + 1, flush=True)\n"
    "ports.close()\n"
)


class TestProcesses:
    def test_no_update_is_lost_among_several_writers(self, place: Place):
        with (
            place.child(COUNT, "40") as one,
            place.child(COUNT, "40") as two,
            place.child(COUNT, "40") as three,
        ):
            outputs = [child.communicate(timeout=3 * PATIENCE)[0].split() for child in (one, two, three)]
        record = place.open().store.load("runs/r-1")
        assert (record.data["count"], record.revision) == (120, 120)
        assert sorted(int(line) for output in outputs for line in output) == list(range(1, 121))

    def test_no_update_is_lost_among_threads(self, store: Store):
        def work() -> None:
            done = 0
            while done < 20:
                record = store.load("runs/r-1")
                data = {"count": record.data.get("count", 0) + 1}
                try:
                    store.commit(msgspec.structs.replace(record, status="TRAINING", data=data))
                except Conflict:
                    continue
                done += 1

        threads = [threading.Thread(target=work) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        record = store.load("runs/r-1")
        assert (record.data["count"], record.revision) == (100, 100)

    def test_killed_nothing_is_lost_that_was_answered(self, place: Place):
        answered = 0
        for _ in range(3):
            with place.child(COUNT, "100000") as child:
                assert child.stdout
                told = [child.stdout.readline() for _ in range(25)]
                child.kill()
                told += child.stdout.readlines()
            answered = max(int(line) for line in told if line.endswith("\n"))
            record = place.open().store.load("runs/r-1")
            assert record.data["count"] == record.revision >= answered
        assert answered >= 75

    def test_what_another_process_wrote_is_seen(self, place: Place):
        store = place.open().store
        assert store.load("runs/r-1").revision == 0
        with place.child(COUNT, "1") as child:
            assert child.wait(PATIENCE) == 0
        assert store.load("runs/r-1").revision == 1

    def test_closed_it_says_try_again(self, opened: Opened, store: Store):
        opened.close()
        opened.close()
        with pytest.raises(Retry, match="closed"):
            store.commit(run())


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "kuznia.db").write_text("no database, and longer than the header of one " * 20)
    place = Place("sqlite", tmp_path / "home")
    with pytest.raises(Retry, match=r"kuznia\.db.*not a database"):
        place.open()
    (tmp_path / "folder" / "kuznia.db").mkdir(parents=True)
    with pytest.raises(Retry, match="cannot be written: check the folder's owner and rights"):
        Place("sqlite", tmp_path / "folder").open()


def test_a_full_disk_refuses_and_goes_on_once_there_is_room(
    tmp_path: Path, capability: Callable[[str, bool, str], None]
):
    with small_disk(tmp_path / "small", capability) as disk:
        place = Place("sqlite", disk / "home")
        store = place.open().store
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_200_000))
        record = grown(store, store.commit(run()))
        with pytest.raises(Retry, match="full: make room there and it goes on by itself"):
            store.commit(msgspec.structs.replace(record, data={"text": "x" * 100_000}))
        assert store.load(record.key) == record
        ballast.unlink()
        assert store.commit(record).revision == record.revision + 1
        place.close()


def grown(store: Store, record: Record) -> Record:
    """Write the record until the disk is full; it as it was taken last."""
    for number in range(1000):
        try:
            record = store.commit(msgspec.structs.replace(record, data={"text": "x" * 20_000, "n": number}))
        except Retry:
            return record
    raise AssertionError("a small disk took 20 MB")


class StoreMachine(RuleBasedStateMachine):
    """Any order of calls, beside a model in a dict; records are loaded, kept, and written back late."""

    adapter = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.place = Place(self.adapter, Path(self._folder.name) / "home")
        self.store = self.place.open().store
        self.model: dict[str, Record] = {}
        self.hands: list[Record] = []
        self.minutes = 0

    def teardown(self) -> None:
        self.place.close()
        self._folder.cleanup()

    @rule(key=st.sampled_from(["runs/a", "runs/b", "runs/ab", "claims/a"]))
    def load(self, key: str) -> None:
        loaded = self.store.load(key)
        assert loaded == self.model.get(key, Record(key=key))
        self.hands.append(loaded)

    @precondition(lambda self: self.hands)
    @rule(
        data=st.data(),
        status=st.sampled_from(["TRAINING", "SUCCEEDED", "FAILED", "REJECTED", "CLAIMED"]),
        owes=st.booleans(),
        dies=st.booleans(),
    )
    def commit(self, data: st.DataObject, status: str, owes: bool, dies: bool) -> None:
        hand = data.draw(st.sampled_from(self.hands))
        self.minutes += 1
        record = msgspec.structs.replace(
            hand,
            status=status,
            data={"minutes": self.minutes},
            outbox=(owed(),) if owes else (),
            dead=Dead(event="e-1", cause="no", at=START) if dies else None,
            updated_at=START.astimezone(UTC) + timedelta(minutes=self.minutes),
        )
        stored = self.model.get(hand.key, Record(key=hand.key))
        if stored.revision != hand.revision:
            with pytest.raises(Conflict):
                self.store.commit(record)
        elif stored.status != status and (stored.status, status) not in TRANSITIONS[hand.kind]:
            with pytest.raises(Reject):
                self.store.commit(record)
        else:
            written = self.store.commit(record)
            assert written == msgspec.structs.replace(record, revision=hand.revision + 1)
            self.model[hand.key] = written

    @rule()
    def reopen(self) -> None:
        self.place.close()
        self.store = self.place.open().store

    @invariant()
    def lists_are_those_of_the_model(self) -> None:
        for kind in ("runs", "claims"):
            expected = [self.model[key] for key in sorted(self.model) if key.startswith(f"{kind}/")]
            assert list(self.store.list(kind)) == expected
        owing = [record for record in self.model.values() if record.outbox and record.dead is None]
        before = START + timedelta(minutes=self.minutes)
        expected = sorted(
            (r for r in owing if r.updated_at and r.updated_at < before), key=lambda r: str(r.updated_at)
        )
        assert list(self.store.owing(before=before)) == expected


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class GoogleStoreMachine(StoreMachine):
    """The same on the emulators."""

    adapter = "google"


TestStoreMachineOnGoogle = pytest.mark.slow(pytest.mark.usefixtures("emulators")(GoogleStoreMachine.TestCase))
TestStoreMachineOnGoogle.settings = settings(TestStoreMachine.settings, max_examples=8)
