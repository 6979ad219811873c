"""Every future is looked at; a key that was paused goes on; a topic that is missing is made, or asked for."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from typing import Any

import pytest

from shared.errors import Retry
from tests.contracts.adapters import event
from tests.emulators import there

if not there("google.cloud.pubsub_v1"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.api_core import exceptions as api
from google.cloud.pubsub_v1.types import LimitExceededBehavior

from shared.google import publisher as module
from shared.google.publisher import Publisher


def test_what_is_on_its_way_is_bounded_and_ordered(monkeypatch: pytest.MonkeyPatch):
    """Who publishes faster than Pub/Sub takes it waits; nothing grows, and nothing is dropped."""
    asked: dict[str, Any] = {}
    monkeypatch.setattr(module, "PublisherClient", lambda **words: asked.update(words))
    module.make_client()
    options, flow = asked["publisher_options"], asked["publisher_options"].flow_control
    assert options.enable_message_ordering
    assert flow.limit_exceeded_behavior is LimitExceededBehavior.BLOCK
    assert (flow.message_limit, flow.byte_limit) == (1000, 32 * module.MEGABYTE)
    assert asked["batch_settings"].max_bytes <= flow.byte_limit / 8


class Client:
    """Answers each publish with what is next in `answers`; None is success, a missing future never ends."""

    def __init__(self, *answers: Exception | str | None) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str]] = []
        self.resumed: list[tuple[str, str]] = []

    def publish(self, topic: str, data: bytes, ordering_key: str, **more: Any) -> Future[str]:
        attributes = {name: value for name, value in more.items() if name.startswith("ce-")}
        assert more["retry"] is None, "an ordering client would try for ever"
        assert more["timeout"] == module.CALL_SECONDS
        self.sent.append((topic.rsplit("/", 1)[-1], attributes["ce-id"]))
        future: Future[str] = Future()
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            future.set_result("1")
        elif isinstance(answer, Exception):
            future.set_exception(answer)
        return future

    def resume_publish(self, topic: str, key: str) -> None:
        if (topic, key) in self.resumed:
            raise RuntimeError("Ordering key is not paused.")
        self.resumed.append((topic, key))


def test_one_that_fails_is_told_after_all_were_looked_at():
    client = Client(None, api.PermissionDenied("down"), api.ServiceUnavailable("down"), None)
    with pytest.raises(Retry, match=r"publishing training-progressed e-1: .*down"):
        Publisher(client, "p", None).publish([event(n) for n in range(4)])
    assert len(client.sent) == 4
    assert len(client.resumed) == 1


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))


@pytest.mark.usefixtures("at_once")
def test_what_passes_is_tried_again_and_only_that():
    paused = module.PublishToPausedOrderingKeyException("runs/r-1")
    client = Client(None, api.ServiceUnavailable("down"), paused, None)
    Publisher(client, "p", None).publish([event(n) for n in range(4)])
    assert [name for _, name in client.sent[4:]] == ["e-1", "e-2"]


@pytest.mark.usefixtures("at_once")
def test_what_does_not_pass_is_told_in_the_end():
    client = Client(*[api.ServiceUnavailable("down")] * 3, None)
    with pytest.raises(Retry, match=r"publishing training-progressed e-1: .*down"):
        Publisher(client, "p", None).publish([event(1)])
    assert len(client.sent) == 3


@pytest.mark.usefixtures("at_once")
def test_while_pubsub_is_away_nothing_is_left_behind_that_would_fill_the_flow(
    monkeypatch: pytest.MonkeyPatch,
):
    """The real client: left to its own tries it would keep every message, and block the thousandth for ever."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{probe.getsockname()[1]}")
        client = module.make_client()
        publisher = Publisher(client, "p", None)
        with pytest.raises(Retry, match="publishing training-progressed e-1"):
            publisher.publish([event(1), event(2)])
        assert client._flow_controller._message_count == 0
        publisher.close()


def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.05)
    with pytest.raises(Retry, match="no answer within"):
        Publisher(Client("never"), "p", None).publish([event(1)])


def test_a_missing_topic_is_made_and_only_what_was_missing_is_sent_again():
    client, made = Client(None, api.NotFound("topic")), []
    Publisher(client, "p", made.append).publish([event(1), event(2, name="model-deployed")])
    assert made == ["model-deployed"]
    assert client.sent[2:] == [("model-deployed", "e-2")]


def test_a_missing_topic_is_asked_for_where_terraform_makes_them():
    with pytest.raises(Retry, match="no topic for training-progressed: terraform apply"):
        Publisher(Client(api.NotFound("topic")), "p", None).publish([event(1)])


@pytest.mark.usefixtures("at_once")
def test_a_key_that_was_paused_is_told():
    paused = module.PublishToPausedOrderingKeyException("runs/r-1")
    with pytest.raises(Retry, match="an earlier one of its subject failed"):
        Publisher(Client(*[paused] * 3), "p", None).publish([event(1)])
