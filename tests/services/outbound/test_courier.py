"""From an event to a receiver and back to the log of deliveries, over the real services and a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from events.catalog import encode, name_of
from events.envelope import Event, from_structured_json
from events.model_deployed import ModelDeployed
from events.training_finished import TrainingFinished
from services.outbound import SERVICE
from services.outbound.addresses import allowed_networks
from services.outbound.courier import Courier, secret_name, secrets_of
from services.outbound.outcome import PAUSES, Result, again
from services.outbound.post import Message, Poster
from shared import standard_webhooks
from shared.delivery import handle
from shared.errors import Retry
from shared.hosts.driver import Driver
from shared.record import Record
from shared.secrets import keep, rotate
from shared.service import Ports
from shared.settings import Settings
from shared.standard_webhooks import Stamp
from tests.memory import ManualClock, MemoryBus, MemoryStore
from tests.services.other_side import OtherSide, Told, listening

DEPLOYED = ModelDeployed(
    model_id="team-x.a.v1", version="1.0.0", release="r", manifest_digest="sha256:1", card_digest="sha256:2"
)
SECRET = standard_webhooks.new_secret()
LOCAL = allowed_networks({"KUZNIA_WEBHOOKS_ALLOW": "127.0.0.1"})


class World:
    """The outbound service alone, with subscribers."""

    def __init__(self, home: Path, post: Any = None) -> None:
        self.home = home
        self.clock, self.store = ManualClock(), MemoryStore()
        self.bus = MemoryBus(self.clock)
        self.bus.subscribe("outbound", SERVICE.hears)
        settings = Settings(home=home, cache=home)
        ports = Ports(store=self.store, artifacts=None, cluster=None, clock=self.clock, settings=settings)  # type: ignore[arg-type]
        self.ports = ports
        self.driver = Driver({"outbound": SERVICE}, ports, self.bus)  # type: ignore[arg-type]
        self.courier = Courier(
            self.store, self.bus, self.clock, post or Poster(LOCAL), secrets_of(home, self.clock)
        )  # type: ignore[arg-type]

    def subscribe(
        self, name: str, url: str, events: tuple[str, ...] = ("*",), tenants: tuple[str, ...] = ("*",)
    ) -> None:
        keep(self.home, secret_name(name), SECRET.encode())
        data = {"url": url, "events": list(events), "tenants": list(tenants)}
        self.store.commit(Record(key=f"subscribers/{name}", status="ACTIVE", data=data))

    def say(self, payload: Any, subject: str, number: int = 1) -> Event:
        name = name_of(payload)
        event = Event(
            id=f"e-{number}",
            name=name,
            source="/kuznia/test",
            subject=subject,
            time=self.clock.now(),
            data=encode(payload),
        )
        self.bus.publish([event])
        for delivery in self.bus.lease(100):
            self.driver.run(handle(SERVICE, delivery, 3))
        return event

    def deployed(self, number: int = 1) -> Event:
        return self.say(DEPLOYED, "models/team-x.a.v1@1.0.0", number)

    def delivery(self, name: str = "s-1", number: int = 1) -> Record:
        return self.store.load(f"deliveries/{name}/e-{number}")

    def wait_until_due(self, delivery: Record) -> None:
        self.clock.moment = datetime.fromisoformat(delivery.data["due"])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.courier.close()


@pytest.fixture
def receiver() -> Iterator[OtherSide]:
    with listening(OtherSide()) as other:
        yield other


def test_an_event_arrives_whole_and_signed(world: World, receiver: OtherSide):
    world.subscribe("s-1", f"{receiver.url}/in")
    event = world.deployed()
    assert world.delivery().status == "PENDING"
    assert world.courier.round() == 1
    (sent,) = receiver.asked
    assert from_structured_json(sent.body) == event
    assert sent.headers["content-type"].startswith("application/cloudevents+json")
    stamp = Stamp(
        id=sent.headers["webhook-id"],
        timestamp=sent.headers["webhook-timestamp"],
        signatures=sent.headers["webhook-signature"],
    )
    assert stamp.id == event.id
    assert standard_webhooks.fault(stamp, sent.body, [SECRET.encode()], world.clock.now()) == ""
    assert standard_webhooks.fault(stamp, sent.body + b" ", [SECRET.encode()], world.clock.now())
    assert world.delivery().status == "DELIVERED"
    assert world.delivery().data["attempts"][0]["status"] == 200
    assert world.courier.round() == 0


def test_who_did_not_ask_or_may_not_hear_is_not_told(world: World, receiver: OtherSide):
    world.subscribe("s-all", receiver.url)
    world.subscribe("s-mine", receiver.url, tenants=("team-x",))
    world.subscribe("s-other-tenant", receiver.url, tenants=("team-y",))
    world.subscribe("s-other-event", receiver.url, events=("model-rejected",))
    world.deployed()
    assert [record.data["subscriber"] for record in world.store.list("deliveries")] == ["s-all", "s-mine"]


def test_of_a_run_its_record_says_whose_it_is(world: World, receiver: OtherSide):
    world.subscribe("s-1", receiver.url, tenants=("team-x",))
    data = {"model": {"tenant": "team-x"}}
    world.store.commit(Record(key="runs/r-1", status="TRAINING", data=data))
    world.store.commit(Record(key="runs/r-2", status="TRAINING", data={"model": {"tenant": "team-y"}}))
    for number, run in enumerate(("r-1", "r-2", "r-3"), start=1):
        world.say(TrainingFinished(run_id=run, attempt=1, outcome="succeeded"), f"runs/{run}", number)
    assert [record.name for record in world.store.list("deliveries")] == ["s-1/e-1"]


def test_who_comes_later_does_not_get_what_was_before(world: World, receiver: OtherSide):
    event = world.deployed()
    world.subscribe("s-1", receiver.url)
    bus = MemoryBus(world.clock)
    bus.subscribe("outbound", SERVICE.hears)
    bus.publish([event])
    driver = Driver({"outbound": SERVICE}, world.ports, bus)  # type: ignore[arg-type]
    for delivery in bus.lease(10):
        driver.run(handle(SERVICE, delivery, 3))
    assert world.courier.round() == 0


def test_a_receiver_that_fails_gets_it_later_under_the_same_id(world: World, receiver: OtherSide):
    answers = iter([Told(500), Told(503), Told(200)])
    receiver.answer = lambda _asked: next(answers)
    world.subscribe("s-1", receiver.url)
    world.deployed()
    for _ in range(2):
        assert world.courier.round() == 1
        assert world.courier.round() == 0, "not before it is due"
        world.wait_until_due(world.delivery())
    assert world.courier.round() == 1
    assert [one["status"] for one in world.delivery().data["attempts"]] == [500, 503, 200]
    assert {asked.headers["webhook-id"] for asked in receiver.asked} == {"e-1"}
    assert len({asked.headers["webhook-timestamp"] for asked in receiver.asked}) == 3
    assert world.delivery().status == "DELIVERED"


def test_it_is_given_up_after_days_and_can_be_asked_for_again(world: World, receiver: OtherSide):
    receiver.answer = lambda _asked: Told(500)
    world.subscribe("s-1", receiver.url)
    world.deployed()
    for _ in PAUSES:
        world.courier.round()
        world.wait_until_due(world.delivery())
    world.courier.round()
    assert world.delivery().status == "FAILED"
    receiver.answer = lambda _asked: Told(200)
    world.clock.move(86400)
    assert world.courier.round() == 0
    world.store.commit(again(world.delivery(), world.clock.now()))
    assert world.courier.round() == 1
    assert world.delivery().status == "DELIVERED"


def test_410_ends_it_for_this_subscriber_alone(world: World, receiver: OtherSide):
    receiver.answer = lambda asked: Told(410 if asked.path == "/gone" else 200)
    world.subscribe("s-1", f"{receiver.url}/gone")
    world.subscribe("s-2", f"{receiver.url}/here")
    world.deployed(1)
    world.deployed(2)
    world.courier.round()
    assert world.store.load("subscribers/s-1").status == "GONE"
    assert [world.delivery("s-1", number).status for number in (1, 2)] == ["FAILED", "FAILED"]
    assert "GONE" in world.delivery("s-1", 2).data["attempts"][0]["error"]
    assert [asked.path for asked in receiver.asked].count("/gone") == 1
    assert [world.delivery("s-2", number).status for number in (1, 2)] == ["DELIVERED", "DELIVERED"]


def test_while_a_secret_changes_both_sign(world: World, receiver: OtherSide):
    world.subscribe("s-1", receiver.url)
    new = standard_webhooks.new_secret()
    rotate(world.home, secret_name("s-1"), new.encode(), world.clock.now() + timedelta(days=1))
    world.deployed(1)
    world.courier.round()
    world.clock.move(2 * 86400)
    world.deployed(2)
    world.courier.round()
    counts = [len(asked.headers["webhook-signature"].split()) for asked in receiver.asked]
    assert counts == [2, 1]
    for asked, secret, proven in ((0, SECRET, True), (0, new, True), (1, SECRET, False), (1, new, True)):
        sent = receiver.asked[asked].headers
        stamp = Stamp(
            id=sent["webhook-id"], timestamp=sent["webhook-timestamp"], signatures=sent["webhook-signature"]
        )
        moment = datetime.fromtimestamp(int(stamp.timestamp), world.clock.now().tzinfo)
        fault = standard_webhooks.fault(stamp, receiver.asked[asked].body, [secret.encode()], moment)
        assert (fault == "") is proven


def test_a_secret_that_is_lost_is_told(world: World, receiver: OtherSide):
    world.subscribe("s-1", receiver.url)
    (world.home / "secrets" / secret_name("s-1")).unlink()
    world.deployed()
    world.courier.round()
    assert receiver.asked == []
    assert "rotate" in world.delivery().data["attempts"][0]["error"]


def test_in_the_order_in_which_it_happened(world: World, receiver: OtherSide):
    world.subscribe("s-1", receiver.url)
    for number in (9, 1, 5):
        world.clock.move(1)
        world.deployed(number)
    world.courier.round()
    assert [asked.headers["webhook-id"] for asked in receiver.asked] == ["e-9", "e-1", "e-5"]


def test_one_that_hangs_holds_up_no_other(tmp_path: Path):
    release, posted = threading.Event(), []

    def post(message: Message) -> Result:
        if "slow" in message.url:
            release.wait(20)
        posted.append(message.url)
        return Result(status=200)

    world = World(tmp_path, post)
    world.subscribe("s-slow", "https://slow.example/")
    world.subscribe("s-fast", "https://fast.example/")
    world.deployed(1)
    world.courier.begin()
    for number in (2, 3):
        _until(lambda: "s-fast" not in world.courier._busy or world.courier._busy["s-fast"].done())
        world.deployed(number)
        world.courier.begin()
    _until(lambda: posted.count("https://fast.example/") == 3)
    assert "https://slow.example/" not in posted
    release.set()
    world.courier.round()
    world.courier.round()
    assert posted.count("https://slow.example/") == 3
    world.courier.close()


def test_what_an_operator_writes_meanwhile_stands(tmp_path: Path):
    def post(_message: Message) -> Result:
        record = world.delivery()
        world.store.commit(again(record, world.clock.now()))
        return Result(status=200)

    world = World(tmp_path, post)
    world.subscribe("s-1", "https://hooks.example/")
    world.deployed()
    world.courier.round()
    assert (world.delivery().status, world.delivery().data["attempts"]) == ("PENDING", [])
    world.courier.close()


def test_a_store_that_cannot_keep_it_means_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    posted: list[str] = []

    def post(message: Message) -> Result:
        posted.append(message.headers["webhook-id"])
        return Result(status=200)

    world = World(tmp_path, post)
    world.subscribe("s-1", "https://hooks.example/")
    world.deployed()

    def full(_record: Record) -> Record:
        raise Retry("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "commit", full)
        world.courier.round()
    world.courier.round()
    assert posted == ["e-1", "e-1"]
    assert world.delivery().status == "DELIVERED"
    world.courier.close()


def test_it_runs_until_it_is_closed(world: World, receiver: OtherSide, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.outbound.courier.PAUSE_SECONDS", 0.01)
    world.subscribe("s-1", receiver.url)
    thread = threading.Thread(target=world.courier.run)
    thread.start()
    world.deployed()
    _until(lambda: world.delivery().status == "DELIVERED")
    world.courier.close()
    thread.join(5)
    assert not thread.is_alive()


def _until(holds: Any) -> None:
    deadline = threading.Event()
    for _ in range(1000):
        if holds():
            return
        deadline.wait(0.01)
    raise AssertionError("it never came to be")
