"""What only the bus on Pub/Sub has: messages as bells, lost ones, foreign ones, dead letters of Pub/Sub itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from shared.errors import Reject
from shared.settings import Settings
from tests.contracts.adapters import PATIENCE, event, soon
from tests.emulators import there

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]
NAME = "training-progressed"
if not there("google.cloud.pubsub_v1"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient  # noqa: E402

from shared.google.assembly import GooglePorts, open_project  # noqa: E402
from shared.google.bus import PubSubBus  # noqa: E402
from shared.google.settings import GoogleSettings  # noqa: E402


class Project:
    """Opens buses of one project; `look_seconds` so long that only messages tell of work."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, cache=home, lease_seconds=20)
        self.options = GoogleSettings(project=f"kz-{abs(hash(str(home))):x}", create=True)
        self.opened: list[GooglePorts] = []

    def open(self, look_seconds: float = 3600) -> PubSubBus:
        opened = open_project(self.settings, self.options)
        self.opened.append(opened)
        bus = opened.bus
        bus._lookout._seconds = look_seconds
        bus.subscribe("training", [NAME])
        bus.lease(1, 0.01)  # streams are opened, and the first look is over
        return bus

    def close(self) -> None:
        for opened in self.opened:
            opened.close()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    project.close()


def test_messages_alone_tell_of_all_work_in_order(project: Project):
    bus = project.open()
    bus.publish([event(n, subject=f"runs/{n % 3}") for n in range(30)])
    seen: list[str] = []
    while len(seen) < 30:
        (delivery,) = bus.lease(1, PATIENCE)
        seen.append(delivery.event.id)
        assert bus.ack(delivery)
    for subject in range(3):
        ours = [int(one.removeprefix("e-")) for one in seen if int(one.removeprefix("e-")) % 3 == subject]
        assert ours == sorted(ours)
    assert bus.pending() == 0


def test_order_holds_across_topics(project: Project):
    bus = project.open()
    bus.subscribe("training", [NAME, "model-deployed"])
    bus.publish([event(n, name=(NAME, "model-deployed")[n % 2]) for n in range(8)])
    for expected in range(8):
        (delivery,) = bus.lease(1, PATIENCE)
        assert delivery.event.id == f"e-{expected}"
        bus.ack(delivery)


def test_an_event_whose_message_was_lost_is_found_by_a_look(project: Project):
    bus = project.open(look_seconds=0.5)
    bus._ledger.append([event(1)])  # as if the process had died before it published
    (delivery,) = bus.lease(1, PATIENCE)
    assert delivery.event.id == "e-1"


def test_saying_it_again_carries_it_again(project: Project):
    bus = project.open()
    bus._ledger.append([event(1)])
    bus.publish([event(1)])
    (delivery,) = bus.lease(1, PATIENCE)
    assert bus.ack(delivery)
    assert bus.lease(1, 0.5) == []


def test_resend_publishes_what_waits_for_too_long(project: Project):
    bus = project.open()
    bus._ledger.append([event(1)])
    assert bus.resend(["training"], overdue_seconds=3600) == 0
    assert bus.resend(["training"], overdue_seconds=0) == 1
    assert [delivery.event.id for delivery in bus.lease(1, PATIENCE)] == ["e-1"]


def test_a_retry_comes_back_in_its_time_without_a_look(project: Project):
    bus = project.open()
    bus.publish([event(1)])
    for attempt in (1, 2, 3):
        (delivery,) = bus.lease(1, PATIENCE)
        assert delivery.attempt == attempt
        bus.retry(delivery, 0.2, "later")


def test_a_lease_that_is_extended_counts_on(project: Project):
    project.settings = msgspec.structs.replace(project.settings, lease_seconds=1)
    bus, other = project.open(), project.open(look_seconds=0.3)
    bus.publish([event(1)])
    delivery = (bus.lease(1, 2) or other.lease(1, PATIENCE))[0]
    mine, theirs = (bus, other) if bus._lending._hands else (other, bus)
    for _ in range(4):
        assert theirs.lease(1, 0.5) == []
        assert mine.extend(delivery)
    assert mine.ack(delivery)
    assert not mine.extend(delivery)


def test_what_is_no_event_of_ours_is_told_and_put_away(project: Project, caplog: pytest.LogCaptureFixture):
    bus = project.open()
    publisher = PublisherClient()
    topic = f"projects/{project.options.project}/topics/{NAME}"
    publisher.publish(topic, b"{}").result(PATIENCE)
    publisher.stop()
    publisher.transport.close()
    with caplog.at_level(logging.ERROR):
        assert soon(lambda: "no event of ours: no CloudEvent in binary mode" in caplog.text)
    assert bus.lease(1, 0.1) == []


def test_what_pubsub_gave_up_is_heard_by_way_of_its_dead_letters(project: Project):
    bus = project.open()
    bus._ledger.append([event(1)])
    dead = event(1)
    publisher = bus._carriers.publisher
    bus._carriers.topics.make_topic("training.dead")  # type: ignore[union-attr]
    publisher._client.publish(
        f"projects/{project.options.project}/topics/training.dead",
        b"{}",
        **{"ce-id": dead.id, "ce-source": dead.source, "ce-subject": dead.subject},
        **{"ce-type": dead.type, "ce-time": dead.time.isoformat()},
    ).result(PATIENCE)
    assert [delivery.event.id for delivery in bus.lease(1, PATIENCE)] == ["e-1"]


def test_a_stream_that_ends_is_opened_again(project: Project, caplog: pytest.LogCaptureFixture):
    bus = project.open(look_seconds=1)  # the emulator may hand a message to a stream that has ended
    assert bus._streams
    for future in list(bus._streams._futures.values()):
        future.cancel()
    assert soon(lambda: "is opened again" in caplog.text)
    bus.publish([event(1)])
    assert [delivery.event.id for delivery in bus.lease(1, PATIENCE)] == ["e-1"]


def test_streams_that_keep_silent_are_opened_again(project: Project, monkeypatch: pytest.MonkeyPatch):
    bus = project.open(look_seconds=1)
    assert bus._streams
    before = dict(bus._streams._futures)
    bus._streams.suspect("too soon after they were opened")
    assert bus._streams._futures == before
    monkeypatch.setattr(bus._streams, "_trusted_until", 0.0)
    bus._streams.suspect("a test says so")
    assert not set(before.values()) & set(bus._streams._futures.values())
    bus.publish([event(1)])
    assert [delivery.event.id for delivery in bus.lease(1, PATIENCE)] == ["e-1"]


def test_an_event_that_is_too_large_is_refused_before_it_is_sent(project: Project):
    bus = project.open()
    with pytest.raises(Reject, match="e-1 has 1000156 bytes, and the bus takes 900000"):
        bus.publish([event(1, data={"text": "x" * 1_000_000})])


def test_what_is_needed_is_made_once_and_pushed_to_where_it_is_told(project: Project):
    project.open()
    project.options = msgspec.structs.replace(
        project.options, push="http://127.0.0.1:9", push_account="a@b.c"
    )
    project.open()
    with SubscriberClient() as subscriber:
        path = f"projects/{project.options.project}/subscriptions/training.{NAME}"
        found = subscriber.get_subscription(subscription=path)
        assert found.push_config.push_endpoint == "http://127.0.0.1:9/training"
        assert found.push_config.no_wrapper.write_metadata
        assert found.enable_message_ordering
        assert found.dead_letter_policy.dead_letter_topic.endswith("/topics/training.dead")
        names = [
            s.name.rsplit("/", 1)[-1]
            for s in subscriber.list_subscriptions(project=f"projects/{project.options.project}")
        ]
    assert sorted(names) == ["training.dead", f"training.{NAME}"]


def test_many_events_go_out_in_several_writes_and_keep_their_order(project: Project):
    bus = project.open()
    events = [event(n) for n in range(150)]
    bus.publish(events)
    from shared.ports.bus import Query  # noqa: PLC0415

    assert [logged.event for logged in bus.log(Query())] == events
