"""The front door: who may come in, what is kept, and what is answered. GitHub's way; other forges have their own."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from services.webhook.http import PATH, route
from services.webhook.receive import Answer, Receiver
from shared.errors import Retry
from shared.local import LocalPorts, open_ports
from shared.ports.bus import Query
from shared.record import Record
from shared.secrets import ensure_webhook_secret
from shared.settings import Settings
from tests.memory import START

NAME = "org/config"
A, B = "a" * 40, "b" * 40
NO_COMMIT = "0" * 40
LIMIT = 10_000


class Door:
    """A receiver on a home where one repository is connected."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=home, cache=home / "cache", max_body_bytes=LIMIT)
        self.local: LocalPorts = open_ports(self.settings)
        self.secret = ensure_webhook_secret(home, NAME)
        data = {"url": "https://git.example/config.git", "branches": ["main", "release/1"], "folders": []}
        record = Record(
            key=f"repositories/{NAME}", status="CONNECTED", data=data, created_at=START, updated_at=START
        )
        self.local.store.commit(record)
        self.local.bus.subscribe("webhook", ["push-received"])
        self.receiver = Receiver(self.local.store, self.local.bus, self.local.clock, self.settings)

    def post(self, body: bytes | None = None, **changes: str | None) -> Answer:
        """A signed push, with headers changed (`x_github_event`); None takes one away."""
        sent = push() if body is None else body
        return self.receiver.receive(self.headers(sent, **changes), sent)

    def headers(self, body: bytes, **changes: str | None) -> dict[str, str]:
        headers: dict[str, str | None] = {
            "x-github-event": "push",
            "x-github-delivery": "d-1",
            "x-hub-signature-256": signed(self.secret, body),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        return {name: value for name, value in headers.items() if value is not None}

    def kept(self) -> list[dict[str, Any]]:
        return [logged.event.data for logged in self.local.bus.log(Query())]


def push(**changes: Any) -> bytes:
    payload = {
        "ref": "refs/heads/main",
        "before": A,
        "after": B,
        "repository": {"full_name": NAME, "id": 1},
        "pusher": {"name": "ann", "email": "ann@orlik.example"},
        "commits": [],
        **changes,
    }
    return json.dumps(payload).encode()


def signed(secret: bytes, body: bytes) -> str:
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path / "home")
    yield door
    door.local.close()


class TestPush:
    def test_it_is_durable_before_it_is_answered(self, door: Door):
        answer = door.post()
        assert (answer.status, answer.body["duplicate"]) == (202, False)
        door.local.close()
        reopened = open_ports(door.settings)
        event = reopened.bus.event(answer.body["accepted"])
        reopened.close()
        assert event is not None
        assert (event.name, event.subject) == ("push-received", f"branches/{NAME}/main")
        assert event.data["before"] == A
        assert event.data["after"] == B
        assert event.data["url"] == "https://git.example/config.git"
        assert (event.data["delivery"], event.data["pusher"]) == ("d-1", "ann")
        assert event.traceparent.startswith("00-")

    def test_the_url_is_that_which_was_connected_whatever_the_body_says(self, door: Door):
        evil = {"full_name": NAME, "clone_url": "https://evil.example/x.git", "url": "https://evil.example"}
        assert door.post(push(repository=evil)).status == 202
        assert door.kept()[0]["url"] == "https://git.example/config.git"

    def test_a_branch_with_a_slash(self, door: Door):
        assert door.post(push(ref="refs/heads/release/1")).body["subject"] == f"branches/{NAME}/release/1"

    def test_the_end_of_a_branch_is_a_push_too(self, door: Door):
        assert door.post(push(after=NO_COMMIT)).status == 202
        assert door.kept()[0]["after"] == NO_COMMIT

    @pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/heads/feature", "refs/notes/x", "main"])
    def test_tags_and_unwatched_branches_start_nothing(self, door: Door, ref: str):
        answer = door.post(push(ref=ref))
        assert answer.status == 200
        assert "ignored" in answer.body
        assert door.kept() == []

    def test_a_ping_is_answered(self, door: Door):
        body = json.dumps({"zen": "Keep it simple.", "repository": {"full_name": NAME}}).encode()
        assert door.post(body, x_github_event="ping") == Answer(status=200, body={"ignored": "pong"})

    def test_other_events_are_not_acted_upon(self, door: Door):
        assert door.post(x_github_event="issues").status == 200
        assert door.kept() == []


class TestProof:
    def test_the_right_signature_of_another_body_does_not_fit(self, door: Door):
        answer = door.post(push(), x_hub_signature_256=signed(door.secret, push(after="c" * 40)))
        assert answer.status == 401
        assert "same secret" in answer.body["error"]

    @pytest.mark.parametrize(
        "signature",
        [
            "",
            "sha256=",
            "sha256=00",
            "sha1=" + "0" * 40,
            "żółw",
            signed(b"guess", push()),
            signed(b"", push()),
        ],
    )
    def test_a_wrong_signature(self, door: Door, signature: str):
        assert door.post(x_hub_signature_256=signature).status == 401
        assert door.kept() == []

    def test_the_signature_is_of_the_raw_bytes(self, door: Door):
        pretty = json.dumps(json.loads(push()), indent=2).encode()
        assert door.post(pretty).status == 202
        assert door.post(pretty, x_hub_signature_256=signed(door.secret, push())).status == 401

    def test_sha_1_alone_proves_nothing(self, door: Door):
        sha1 = "sha1=" + hmac.new(door.secret, push(), hashlib.sha1).hexdigest()
        answer = door.post(x_hub_signature_256=None, x_hub_signature=sha1)
        assert answer.status == 400
        assert "x-hub-signature-256" in answer.body["error"].lower()

    def test_every_missing_header_is_named(self, door: Door):
        answer = door.receiver.receive({}, push())
        assert answer.status == 400
        for header in ("x-github-event", "x-github-delivery", "x-hub-signature-256"):
            assert header in answer.body["error"]

    def test_the_prefix_belongs_to_it(self, door: Door):
        bare = signed(door.secret, push()).removeprefix("sha256=")
        assert door.post(x_hub_signature_256=bare).status == 401

    @pytest.mark.parametrize(
        "body", [b"payload=%7B%7D", b"[" * (LIMIT - 1), push(repository={"full_name": ""}), b"[]"]
    )
    def test_a_body_that_names_no_repository_is_told_how_to_be_sent(self, door: Door, body: bytes):
        """GitHub's own default is a form, not JSON."""
        answer = door.post(body)
        assert (answer.status, "application/json" in answer.body["error"]) == (400, True)

    @pytest.mark.parametrize("name", ["org/other", "../config", "ORG/config"])
    def test_an_unknown_repository(self, door: Door, name: str):
        answer = door.post(push(repository={"full_name": name}))
        assert answer.status == 404
        assert "kuznia hook" in answer.body["error"]

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b'{"repository": 7}', b"\xff\xfe", b'"text"']
    )
    def test_a_body_that_names_no_repository(self, door: Door, body: bytes):
        assert door.post(body).status in (400, 404)
        assert door.kept() == []

    def test_a_signed_body_that_is_no_push(self, door: Door):
        answer = door.post(json.dumps({"repository": {"full_name": NAME}}).encode())
        assert answer.status == 400
        assert "`ref`" in answer.body["error"]

    def test_a_body_over_the_limit_is_not_even_looked_at(self, door: Door):
        answer = door.post(push(padding="x" * LIMIT))
        assert answer.status == 413
        assert str(LIMIT) in answer.body["error"]
        assert door.kept() == []

    def test_a_body_of_just_the_limit_is_taken(self, door: Door):
        room = LIMIT - len(push(padding=""))
        assert len(push(padding="x" * room)) == LIMIT
        assert door.post(push(padding="x" * room)).status == 202


class TestAgain:
    def test_a_delivery_again_is_the_same_event(self, door: Door):
        first, second = door.post(), door.post()
        assert second.status == 202
        assert (second.body["accepted"], second.body["duplicate"]) == (first.body["accepted"], True)
        assert len(door.kept()) == 1

    def test_five_times_at_once(self, door: Door):
        with ThreadPoolExecutor(5) as pool:
            answers = list(pool.map(lambda _: door.post(), range(5)))
        assert {answer.status for answer in answers} == {202}
        assert len({answer.body["accepted"] for answer in answers}) == 1
        assert len(door.kept()) == 1

    def test_another_delivery_of_the_same_push_is_another_event(self, door: Door):
        assert door.post().body["accepted"] != door.post(x_github_delivery="d-2").body["accepted"]
        assert len(door.kept()) == 2

    @pytest.mark.parametrize("change", [{"after": "c" * 40}, {"ref": "refs/heads/release/1"}])
    def test_a_delivery_s_id_used_for_another_push_is_refused(self, door: Door, change: dict[str, str]):
        door.post()
        answer = door.post(push(**change))
        assert answer.status == 409
        assert "d-1" in answer.body["error"]
        assert len(door.kept()) == 1

    def test_a_store_or_bus_that_cannot_take_it_now_says_when_to_try_again(
        self, door: Door, monkeypatch: pytest.MonkeyPatch
    ):
        def full(events: object) -> None:
            raise Retry("the disk is full: make room there")

        monkeypatch.setattr(door.local.bus, "publish", full)
        answer = door.post()
        assert (answer.status, answer.retry_after) == (503, 5)
        assert "the disk is full" in answer.body["error"]
        monkeypatch.undo()
        assert door.post().body["duplicate"] is False


class TestHttp:
    @pytest.fixture
    def client(self, door: Door) -> Iterator[TestClient]:
        application = Starlette(routes=[route(door.receiver, LIMIT)])
        with TestClient(application) as client:
            yield client

    def test_a_push(self, door: Door, client: TestClient):
        response = client.post(PATH, content=push(), headers=door.headers(push()))
        assert response.status_code == 202
        assert response.json()["subject"] == f"branches/{NAME}/main"

    def test_names_of_headers_in_any_case(self, door: Door, client: TestClient):
        headers = {name.title(): value for name, value in door.headers(push()).items()}
        assert client.post(PATH, content=push(), headers=headers).status_code == 202

    def test_only_posts(self, client: TestClient):
        assert client.get(PATH).status_code == 405

    def test_a_body_over_the_limit_is_not_read_to_its_end(self, door: Door, client: TestClient):
        read = 0

        def endless() -> Iterator[bytes]:
            nonlocal read
            for _ in range(1000):
                read += 1
                yield b"x" * 1000

        response = client.post(PATH, content=endless(), headers=door.headers(b""))
        assert response.status_code == 413

    def test_when_to_try_again_stands_in_the_header(
        self, door: Door, client: TestClient, monkeypatch: pytest.MonkeyPatch
    ):
        def full(events: object) -> None:
            raise Retry("the disk is full")

        monkeypatch.setattr(door.local.bus, "publish", full)
        response = client.post(PATH, content=push(), headers=door.headers(push()))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


def test_an_answer_is_json():
    assert msgspec.json.decode(msgspec.json.encode(Answer(status=200, body={"a": 1})))["body"] == {"a": 1}
