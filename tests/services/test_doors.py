"""Other systems and the platform, over real sockets: an event comes in by one door and goes out by the other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from services.console.app import ConsolePorts, create_app
from services.ingress.http import WithEvents
from services.ingress.receive import Place
from services.ingress.senders import new_token
from services.outbound import SERVICE
from services.outbound.courier import Courier, courier, secret_name
from shared import standard_webhooks
from shared.hosts.embedded import EmbeddedHost
from shared.local import LocalPorts, open_ports
from shared.record import Record
from shared.secrets import keep
from shared.service import Ports
from shared.settings import Settings, SettingsError
from shared.standard_webhooks import Stamp
from tests.memory import START
from tests.services.other_side import OtherSide, listening

EXAMPLE = Path(__file__).resolve().parents[2] / "events" / "examples" / "model-approved.json"
SOURCE = "//review.example"
MEDIA = "application/cloudevents+json"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, cache=tmp_path / "cache", reconcile_seconds=0.2)


@pytest.fixture
def local(settings: Settings) -> Iterator[LocalPorts]:
    local = open_ports(settings)
    yield local
    local.close()


@pytest.fixture
def client(local: LocalPorts, settings: Settings) -> Iterator[TestClient]:
    ports = ConsolePorts(
        store=local.store, bus=local.bus, artifacts=local.artifacts, cluster=None, settings=settings  # type: ignore[arg-type]
    )  # fmt: skip
    place = Place(
        store=local.store, bus=local.bus, artifacts=local.artifacts, clock=local.clock, settings=settings
    )
    with TestClient(WithEvents(create_app(ports), place), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def token(local: LocalPorts) -> str:
    token, digest = new_token("review")
    data = {"hash": digest, "events": ["model-approved"], "sources": [SOURCE]}
    local.store.commit(
        Record(key="senders/review", status="ACTIVE", data=data, created_at=START, updated_at=START)
    )
    return token


def posted() -> bytes:
    return json.dumps(json.loads(EXAMPLE.read_text()) | {"source": SOURCE}).encode()


def test_events_may_be_posted_under_any_name_and_the_page_may_not(client: TestClient, token: str):
    headers = {"authorization": f"Bearer {token}", "content-type": MEDIA, "host": "events.example"}
    assert client.post("/events", content=posted(), headers=headers).status_code == 202
    assert client.get("/events", headers={"host": "events.example"}).status_code == 421
    page = client.get("/events", headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "model-approved" in page.text


def test_nobody_posts_without_a_token(client: TestClient, local: LocalPorts):
    answer = client.post("/events", content=posted(), headers={"content-type": MEDIA})
    assert answer.status_code == 401


def test_from_one_door_to_the_other(client: TestClient, token: str, local: LocalPorts, settings: Settings):
    secret = standard_webhooks.new_secret()
    keep(settings.home, secret_name("s-1"), secret.encode())
    ports = Ports(
        store=local.store, artifacts=local.artifacts, cluster=None, clock=local.clock, settings=settings  # type: ignore[arg-type]
    )  # fmt: skip
    host = EmbeddedHost({"outbound": SERVICE}, ports, local.bus)
    bringing = courier(local.store, local.bus, local.clock, settings, {"KUZNIA_WEBHOOKS_ALLOW": "127.0.0.1"})
    with listening(OtherSide()) as receiver:
        data = {"url": receiver.url, "events": ["*"], "tenants": ["*"]}
        record = Record(key="subscribers/s-1", status="ACTIVE", data=data, created_at=START, updated_at=START)
        local.store.commit(record)
        host.start()
        try:
            headers = {"authorization": f"Bearer {token}", "content-type": MEDIA}
            answer = client.post("/events", content=posted(), headers=headers)
            (event,) = answer.json()["events"]
            _bring(bringing, receiver)
        finally:
            host.close()
            bringing.close()
    (sent,) = receiver.asked
    stamp = Stamp(
        id=sent.headers["webhook-id"],
        timestamp=sent.headers["webhook-timestamp"],
        signatures=sent.headers["webhook-signature"],
    )
    assert stamp.id == event["event"]
    assert standard_webhooks.fault(stamp, sent.body, [secret.encode()], local.clock.now()) == ""
    assert sent.json()["source"] == SOURCE
    assert local.store.load(f"deliveries/s-1/{event['event']}").status == "DELIVERED"


def test_a_wrong_setting_is_told(local: LocalPorts, settings: Settings):
    with pytest.raises(SettingsError, match="KUZNIA_WEBHOOKS_ALLOW"):
        courier(local.store, local.bus, local.clock, settings, {"KUZNIA_WEBHOOKS_ALLOW": "everywhere"})


def _bring(bringing: Courier, receiver: OtherSide) -> None:
    pause = threading.Event()
    for _ in range(500):
        if receiver.asked:
            return
        bringing.round()
        pause.wait(0.02)
    raise AssertionError("nothing ever arrived")
