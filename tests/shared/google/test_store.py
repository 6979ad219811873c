"""What only the store on Firestore has: few round trips, a limit of size, answers that never come, news of changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.errors import Conflict, Reject, Retry, Unknown
from shared.record import Do, Record
from tests.contracts.adapters import Place, soon
from tests.emulators import there
from tests.memory import START

if not there("google.cloud.firestore"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.api_core import exceptions as api

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]
RUN = Record(key="runs/r-1", status="TRAINING", created_at=START, updated_at=START)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place("google", tmp_path / "home")
    yield place
    place.close()


@pytest.fixture
def store(place: Place) -> Any:
    return place.open().store


@pytest.fixture
def calls(store: Any, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each RPC was made."""
    found: Counter[str] = Counter()
    stub = store._client._firestore_api

    def counted(name: str) -> None:
        real = getattr(stub, name)

        def call(*words: Any, **more: Any) -> Any:
            found[name] += 1
            return real(*words, **more)

        monkeypatch.setattr(stub, name, call)

    for name in ("commit", "batch_get_documents", "run_query"):
        counted(name)
    return found


def test_one_rpc_a_read_and_one_a_commit(store: Any, calls: Counter[str]):
    record = store.commit(RUN)
    assert calls == {"commit": 1}
    for _ in range(3):
        record = store.commit(record)
    assert calls == {"commit": 4}
    record = store.load("runs/r-1")
    store.commit(record)
    assert calls == {"commit": 5, "batch_get_documents": 1}
    assert len(store.list("runs", status="TRAINING")) == 1
    assert calls["run_query"] == 1


def test_what_another_wrote_meanwhile_is_a_conflict_though_we_remember_the_old(place: Place, store: Any):
    record = store.commit(RUN)
    other = place.open().store
    other.commit(other.load("runs/r-1"))
    with pytest.raises(Conflict, match="revision is 2, not 1"):
        store.commit(record)
    with pytest.raises(Conflict, match="revision is 2, not 1"):
        store.commit(msgspec.structs.replace(record, status="REJECTED"))
    assert store.commit(store.load("runs/r-1")).revision == 3


def test_a_record_that_is_too_large_is_refused_and_told_of_what(store: Any):
    owed = Do(id="d", effect="launch", arguments={"text": "x" * 1_000_000}, cause="e")
    with pytest.raises(
        Reject, match=r"runs/r-1 has 1000\d{3} bytes \(data 2 bytes, inbox 2 bytes, outbox 1000"
    ):
        store.commit(msgspec.structs.replace(RUN, outbox=(owed,)))
    assert store.load("runs/r-1").revision == 0


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (api.DeadlineExceeded("late"), Unknown),
        (api.ServiceUnavailable("down"), Unknown),
        (api.PermissionDenied("no"), Retry),
    ],
)
def test_an_answer_that_never_came_is_unknown(
    store: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, word: type[Exception]
):
    def commit(**_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store._client._firestore_api, "commit", commit)
        with pytest.raises(word, match="runs/r-1 revision 1"):
            store.commit(RUN)
    assert store.commit(RUN).revision == 1


def test_a_commit_that_was_done_though_its_answer_was_lost_is_found_by_who_looks_again(
    store: Any, monkeypatch: pytest.MonkeyPatch
):
    real = store._client._firestore_api.commit

    def commit(**words: object) -> None:
        real(**words)
        raise api.DeadlineExceeded("late")

    with monkeypatch.context() as patch:
        patch.setattr(store._client._firestore_api, "commit", commit)
        with pytest.raises(Unknown):
            store.commit(msgspec.structs.replace(RUN, inbox=("e-1",)))
    assert store.load("runs/r-1").inbox == ("e-1",)
    with pytest.raises(Conflict):
        store.commit(RUN)


def test_a_change_by_another_is_told_without_asking(place: Place, store: Any):
    before = store.version()
    assert soon(lambda: store.version() != before), "the first snapshot"
    before = store.version()
    place.open().store.commit(RUN)
    assert soon(lambda: store.version() != before)


def test_names_of_all_kinds_are_kept_apart(store: Any):
    names = ["a/b", "a%2Fb", "ż ó", "..", "__x__", "a#b?c", "é" * 300]
    for name in names:
        store.commit(Record(key=f"claims/{name}", status="CLAIMED", data={"name": name}))
    assert {record.name for record in store.list("claims")} == set(names)
    assert all(store.load(f"claims/{name}").data == {"name": name} for name in names)
