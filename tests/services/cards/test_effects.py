from __future__ import annotations

import json
from types import SimpleNamespace

import msgspec
import pytest

from events.catalog import decode
from services.cards import SERVICE
from services.cards.effects import document_bytes
from shared.errors import Reject, Retry
from shared.hosts.driver import Driver
from shared.identity import content_digest
from shared.lifecycle import TRANSITIONS
from shared.local.artifacts import DirectoryArtifacts
from shared.local.clock import SystemClock
from shared.ports.bus import Query
from shared.reaction import react
from shared.record import Do, Record
from shared.service import Ports
from shared.settings import Settings

KEY = "cards/team-x.orlik.v1@1.0.0"


class MemoryStore:
    """Compare-and-set in a dict, as far as a reaction needs it."""

    def __init__(self):
        self.records = {}

    def load(self, key):
        return self.records.get(key) or Record(key=key)

    def commit(self, record):
        assert (self.load(record.key).status, record.status) in TRANSITIONS["cards"] or (
            self.load(record.key).status == record.status
        )
        self.records[record.key] = msgspec.structs.replace(record, revision=record.revision + 1)
        return self.records[record.key]


class MemoryBus:
    """What was said, an id once."""

    def __init__(self):
        self.said = {}

    def publish(self, events):
        self.said.update({event.id: event for event in events})

    def log(self, query: Query):
        return [event for event in self.said.values() if event.name == query.name]


@pytest.fixture
def house(tmp_path):
    store, bus, artifacts = MemoryStore(), MemoryBus(), DirectoryArtifacts(tmp_path / "artifacts")
    ports = Ports(
        store=store,
        artifacts=artifacts,
        cluster=SimpleNamespace(),
        clock=SystemClock(),
        settings=Settings(home=tmp_path, cache=tmp_path),
    )
    driver = Driver({"cards": SERVICE}, ports, bus)
    return SimpleNamespace(
        hear=lambda event: driver.run(react(SERVICE, event)),
        store=store,
        bus=bus,
        artifacts=artifacts,
        ports=ports,
    )


def test_from_two_events_to_two_files_and_a_word(house, world):
    house.hear(world.registered_event())
    house.hear(world.validated_event())
    record = house.store.load(KEY)
    assert record.status == "RENDERED"
    assert record.outbox == ()
    (event,) = house.bus.log(Query(name="card-rendered"))
    card = decode(event)
    assert event.subject == "models/team-x.orlik.v1@1.0.0"
    markdown = house.artifacts.read(card.markdown)
    assert content_digest(markdown) == card.digest == record.data["digest"]
    document = json.loads(house.artifacts.read(card.document))
    assert document["completeness"] == card.completeness
    assert [field["field"] for field in document["missing"]] == list(card.missing)


def test_a_redelivery_after_a_lost_outbox_writes_the_same_and_says_the_same(house, world):
    house.hear(world.registered_event())
    decision = SERVICE.decide(house.store.load(KEY), world.validated_event(), world.validated_event().time)
    do = Do(id="do", effect="write", arguments=decision.wishes[0].arguments, cause="cause")
    write = SERVICE.effects(house.ports)["write"]
    first, again = (write(do, Record(key=KEY)) for _ in range(2))
    assert first == again
    assert len(house.artifacts.list("tenants/team-x/cards")) == 2


def test_a_card_that_is_already_another_one_is_rejected(house, world):
    house.artifacts.create("tenants/team-x/cards/team-x.orlik.v1/1.0.0/card.md", b"another card")
    house.hear(world.registered_event())
    with pytest.raises(Reject, match=r"card\.md"):
        house.hear(world.validated_event())
    assert house.store.load(KEY).dead is not None
    assert house.bus.log(Query(name="card-rendered")) == []


def test_a_card_whose_text_is_not_what_was_decided_is_not_told_of(house, world):
    house.hear(world.registered_event())
    decision = SERVICE.decide(house.store.load(KEY), world.validated_event(), world.validated_event().time)
    arguments = {**decision.wishes[0].arguments, "markdown": "another text"}
    do = Do(id="do", effect="write", arguments=arguments, cause="cause")
    with pytest.raises(Reject, match="decided was sha256:"):
        SERVICE.effects(house.ports)["write"](do, Record(key=KEY))


def test_what_comes_in_the_wrong_order_is_retried_and_ends_the_same(house, world):
    with pytest.raises(Retry):
        house.hear(world.validated_event())
    house.hear(world.registered_event())
    house.hear(world.validated_event())
    assert house.store.load(KEY).status == "RENDERED"


def test_the_document_is_the_same_bytes_each_time_and_valid_json():
    document = {"name": "żółw", "values": [1.5, None, True]}
    assert document_bytes(document) == document_bytes(dict(document))
    assert json.loads(document_bytes(document)) == document
