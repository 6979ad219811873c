"""What the emulator never says: contention, deliveries that are gone, and how much one commit takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from events.envelope import Event
from shared.errors import Retry
from shared.ports.bus import Delivery
from tests.contracts.adapters import event
from tests.emulators import there
from tests.memory import START

if not there("google.cloud.firestore"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.api_core import exceptions as api
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import Client
from google.cloud.firestore_v1.types import CommitResponse, WriteResult

from shared.google import bus as buses
from shared.google import documents, ledger, portions
from shared.google.bells import Bells
from shared.google.ledger import Ledger

TOKEN = "2026-11-23T10:00:00.000001Z"
CONTENTION = api.Aborted("Too much contention on these documents. Please try again.")


class Firestore:
    """Answers each commit with what is next in `answers`, then with success."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.commits: list[Sequence[Any]] = []

    def commit(self, request: dict[str, Any], **_: object) -> CommitResponse:
        if self.answers:
            raise self.answers.pop(0)
        self.commits.append(request["writes"])
        return CommitResponse(
            write_results=[WriteResult(update_time=START) for _ in request["writes"]], commit_time=START
        )

    def batch_get_documents(self, **_: object) -> Iterator[Any]:
        return iter(())


@pytest.fixture
def firestore(monkeypatch: pytest.MonkeyPatch) -> Firestore:
    monkeypatch.setattr(ledger, "CONTENDED", (0.0, 0.0))
    return Firestore()


@pytest.fixture
def book(firestore: Firestore) -> Ledger:
    client = Client(project="p", credentials=AnonymousCredentials())
    client._firestore_api_internal = firestore
    return Ledger(client)


def lent(said: Event) -> Delivery:
    return Delivery(event=said, service="training", lease=documents.pack(TOKEN, 1), attempt=1)


def test_contention_is_tried_again_and_is_no_sign_that_the_event_is_known(book: Ledger, firestore: Firestore):
    firestore.answers = [CONTENTION, CONTENTION]
    book.append([event(1)])
    assert len(firestore.commits) == 1


def test_contention_that_stays_is_told_so_that_no_event_is_lost(book: Ledger, firestore: Firestore):
    firestore.answers = [CONTENTION] * 3
    with pytest.raises(Retry, match="contention"):
        book.append([event(1)])
    assert firestore.commits == []


def test_one_that_is_known_hinders_none_of_the_others(book: Ledger, firestore: Firestore):
    firestore.answers = [api.AlreadyExists("there"), api.AlreadyExists("there")]
    book.append([event(1), event(2)])
    assert len(firestore.commits) == 1


@pytest.mark.parametrize("gone", [api.NotFound("No document to update"), api.FailedPrecondition("old")])
def test_a_delivery_that_is_gone_is_a_lease_that_counts_no_more(
    book: Ledger, firestore: Firestore, gone: Exception
):
    delivery = lent(event(1))
    for settle in (
        lambda: book.finish(delivery),
        lambda: book.put_off(delivery, START, "later"),
        lambda: book.bury(delivery, "cause"),
        lambda: book.extend(delivery, START),
    ):
        firestore.answers = [gone]
        assert not settle()


def test_a_cause_that_would_not_fit_a_document_is_cut(book: Ledger, firestore: Firestore):
    assert book.bury(lent(event(1)), "begin" + "x" * 2_000_000 + "end")
    (_, grave) = firestore.commits[0]
    cause = grave.update.fields["cause"].string_value
    assert cause.startswith("begin")
    assert cause.endswith("end")
    assert len(cause) < 21_000


def test_no_commit_has_more_than_firestore_takes(
    book: Ledger, firestore: Firestore, monkeypatch: pytest.MonkeyPatch
):
    routes = {"training-progressed": [f"s{n}" for n in range(7)]}
    monkeypatch.setattr(Ledger, "_routes_of", lambda *_: routes)
    book.append([event(n) for n in range(200)])
    assert sum(map(len, firestore.commits)) == 200 * 8
    assert max(map(len, firestore.commits)) <= portions.MOST_WRITES
    firestore.commits.clear()
    book.append([event(n, data={"text": "x" * 700_000}) for n in range(20)])
    sizes = [sum(type(write).pb(write).ByteSize() for write in writes) for writes in firestore.commits]
    assert sum(map(len, firestore.commits)) == 20 * 8
    assert max(sizes) < 10 * 1024 * 1024


class Due:
    """A ledger in which these are due, by service."""

    def __init__(self, **due: Sequence[Event]) -> None:
        self.due_ = due

    def due(self, service: str, now: datetime, limit: int) -> Sequence[Any]:
        assert now <= datetime.now(UTC) - timedelta(seconds=59)
        return [SimpleNamespace(event=one) for one in self.due_[service][:limit]]


def test_a_lane_is_rung_for_once_a_while_and_a_long_one_hides_no_other():
    long = [event(n, subject="runs/long") for n in range(500)]
    rung: list[str] = []
    bells = Bells(
        Due(training=[*long, event(999, subject="runs/short")], cards=[event(7)]),  # type: ignore[arg-type]
        lambda events: rung.extend(one.id for one in events),
    )
    assert bells.ring(["training", "cards"], 60) == 3
    assert rung == ["e-0", "e-999", "e-7"]
    assert bells.ring(["training", "cards"], 60) == 0


class Message:
    def __init__(self) -> None:
        self.word = ""

    def ack(self) -> None:
        self.word = "ack"

    def nack(self) -> None:
        self.word = "nack"


@pytest.fixture
def bus(book: Ledger) -> buses.PubSubBus:
    carriers = buses.Carriers(publisher=SimpleNamespace(publish=None), topics=None, open_streams=None)  # type: ignore[arg-type]
    return buses.PubSubBus(book, carriers)


@pytest.fixture
def delivery(bus: buses.PubSubBus, monkeypatch: pytest.MonkeyPatch) -> Delivery:
    monkeypatch.setattr(bus._ledger, "ahead", lambda *_: ahead(event(1)))
    claimed = bus.claim("training", event(1))
    assert isinstance(claimed, Delivery)
    return claimed


def ahead(said: Event) -> documents.Ahead:
    return documents.Ahead(
        service="training", event=said, position=1, due=START, lent=False, attempts=0, token=TOKEN
    )


@pytest.mark.parametrize("settle", ["ack", "retry", "bury"])
def test_a_message_whose_outcome_could_not_be_written_goes_back(
    bus: buses.PubSubBus, delivery: Delivery, firestore: Firestore, settle: str
):
    """Its lease at Pub/Sub would else be kept for an hour, and with it all that came later of its subject."""
    message = Message()
    bus._lending.attach(delivery, message)
    firestore.answers = [api.ServiceUnavailable("down")]
    words = {"ack": (), "retry": (1.0, "later"), "bury": ("cause",)}[settle]
    with pytest.raises(Retry, match="down"):
        getattr(bus, settle)(delivery, *words)
    assert message.word == "nack"
    assert bus._lending._hands == {}


def test_where_events_are_only_pushed_nothing_piles_up(bus: buses.PubSubBus, delivery: Delivery):
    assert bus.ack(delivery)
    assert bus._room._lanes == {}
    assert bus._lending._hands == {}


def test_who_extends_a_lease_does_not_take_it_from_who_settles(
    bus: buses.PubSubBus, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
):
    """Both compare the lease, and one changes it: without a turn each, what is done would be done again."""
    began, end, leases = threading.Event(), threading.Event(), []

    def extend(current: Delivery, _until: datetime) -> Delivery:
        began.set()
        assert end.wait(10)
        return msgspec.structs.replace(current, lease="extended/1")

    monkeypatch.setattr(bus._ledger, "extend", extend)
    monkeypatch.setattr(bus._ledger, "finish", lambda current: leases.append(current.lease) or True)
    extending = threading.Thread(target=bus.extend, args=[delivery])
    extending.start()
    assert began.wait(10)
    settling = threading.Thread(target=bus.ack, args=[delivery])
    settling.start()
    settling.join(0.05)
    end.set()
    for thread in (extending, settling):
        thread.join(10)
    assert leases == ["extended/1"]
    assert not bus.extend(delivery)
