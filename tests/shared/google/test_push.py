"""What the emulator pushes, unwrapped and with metadata: attributes arrive as headers, ours and a bucket's."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator, Mapping

import pytest

from services.ingress import notification
from shared.google import message
from shared.hosts.door import Answer
from shared.hosts.light import LightServer
from tests.contracts.adapters import PATIENCE, event
from tests.emulators import there

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]
if not there("google.cloud.pubsub_v1"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.cloud.pubsub_v1 import PublisherClient, SubscriberClient  # noqa: E402

PROJECT = "kz-pushes"
Pushed = tuple[Mapping[str, str], bytes]


@pytest.fixture
def pushed() -> Iterator[queue.Queue[Pushed]]:
    """What comes to a door that is pushed to by the topic `pushes`."""
    came: queue.Queue[Pushed] = queue.Queue()

    def handle(_method: str, _path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        came.put((headers, body))
        return Answer(status=204)

    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = LightServer(listener, handle)
    thread = threading.Thread(target=server.serve)
    thread.start()
    topic, name = f"projects/{PROJECT}/topics/pushes", f"projects/{PROJECT}/subscriptions/pushes"
    with PublisherClient() as publisher, SubscriberClient() as subscriber:
        publisher.create_topic(name=topic)
        push = {"push_endpoint": f"http://127.0.0.1:{port}/", "no_wrapper": {"write_metadata": True}}
        subscriber.create_subscription(request={"name": name, "topic": topic, "push_config": push})
        yield came
        subscriber.delete_subscription(subscription=name)
        publisher.delete_topic(topic=topic)
    server.close()
    thread.join()


def publish(content: bytes, attributes: Mapping[str, str]) -> None:
    publisher = PublisherClient()
    publisher.publish(f"projects/{PROJECT}/topics/pushes", content, **attributes).result(PATIENCE)
    publisher.stop()
    publisher.transport.close()


def test_an_event_about_a_branch_of_any_name(pushed: queue.Queue[Pushed]):
    sent = event(1, subject='branches/org/repo/żółw 100% "x"', data={"text": "żółw"})
    publish(message.body(sent), message.attributes(sent))
    headers, body = pushed.get(timeout=PATIENCE)
    assert message.read(headers, body) == sent


def test_a_buckets_own_word(pushed: queue.Queue[Pushed]):
    """With the attributes that Cloud Storage documents for its notifications."""
    told = {"kind": "storage#object", "bucket": "forge", "name": "tenants/a/x", "generation": "17"}
    told |= {"updated": "2026-11-23T10:00:00.5Z"}
    said = {
        "eventType": "OBJECT_FINALIZE",
        "payloadFormat": "JSON_API_V1",
        "bucketId": "forge",
        "objectId": "tenants/a/x",
        "objectGeneration": "17",
        "notificationConfig": "projects/_/buckets/forge/notificationConfigs/1",
        "eventTime": "2026-11-23T10:00:00.5Z",
    }
    publish(json.dumps(told).encode(), said)
    headers, body = pushed.get(timeout=PATIENCE)
    assert notification.is_one(headers)
    assert notification.event(headers, json.loads(body))["source"] == f"{notification.SOURCE}forge"
