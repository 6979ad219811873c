"""Each forge proves itself in its own way, and each shape of its pushes is understood."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from services.webhook.forges import FORGES
from services.webhook.http import route
from services.webhook.receive import Answer, Receiver
from shared import standard_webhooks
from shared.record import Record
from shared.secrets import drop_old_webhook_secret, ensure_webhook_secret, rotate_webhook_secret
from shared.settings import Settings
from tests.memory import ManualClock, MemoryBus, MemoryStore

NAME = "org/config"
A, B, NONE = "a" * 40, "b" * 40, "0" * 40
SIGNING = "whsec_" + base64.b64encode(b"k" * 32).decode()


class Door:
    """One connected repository, on a clock that is moved by hand."""

    def __init__(self, home: Path, forge: str = "github", name: str = NAME, secret: str = "") -> None:
        self.home, self.forge, self.name = home, forge, name
        self.clock, self.store = ManualClock(), MemoryStore()
        self.bus = MemoryBus(self.clock)
        self.secret = ensure_webhook_secret(home, name, secret)
        data = {
            "url": "https://git.example/c.git",
            "branches": ["main", "next"],
            "folders": [],
            "forge": forge,
        }
        self.store.commit(Record(key=f"repositories/{name}", status="CONNECTED", data=data))
        settings = Settings(home=home, cache=home)
        self.receiver = Receiver(self.store, self.bus, self.clock, settings)  # type: ignore[arg-type]

    def post(self, payload: Any, headers: dict[str, str], forge: str = "") -> Answer:
        return self.receiver.receive(headers, json.dumps(payload).encode(), forge or self.forge)

    def heard(self) -> list[tuple[str, str, str]]:
        return [
            (event.data["branch"], event.data["before"], event.data["after"]) for event in self.bus.events
        ]


def hexed(secret: bytes, payload: Any, prefix: str = "") -> str:
    return prefix + hmac.new(secret, json.dumps(payload).encode(), hashlib.sha256).hexdigest()


def like_github(**changes: Any) -> dict[str, Any]:
    person = {"login": "ann", "username": "ann"}
    return {
        "ref": "refs/heads/main",
        "before": A,
        "after": B,
        "repository": {"full_name": NAME},
        "pusher": person,
    } | changes


def like_gitlab(**changes: Any) -> dict[str, Any]:
    known = {"object_kind": "push", "ref": "refs/heads/main", "before": A, "after": B, "checkout_sha": B}
    return known | {"user_name": "Ann", "project": {"path_with_namespace": NAME}} | changes


def reference(name: str, commit: str, kind: str = "branch") -> dict[str, Any]:
    return {"type": kind, "name": name, "target": {"hash": commit}}


def like_bitbucket(*changes: dict[str, Any]) -> dict[str, Any]:
    moved = changes or ({"old": reference("main", A), "new": reference("main", B)},)
    return {
        "push": {"changes": list(moved)},
        "repository": {"full_name": NAME},
        "actor": {"display_name": "Ann"},
    }


def like_bitbucket_server(kind: str = "UPDATE", before: str = A, after: str = B) -> dict[str, Any]:
    change = {
        "ref": {"id": "refs/heads/main", "displayId": "main", "type": "BRANCH"},
        "refId": "refs/heads/main", "fromHash": before, "toHash": after, "type": kind,
    }  # fmt: skip
    repository = {"slug": "config", "project": {"key": "ORG"}}
    return {
        "eventKey": "repo:refs_changed",
        "actor": {"displayName": "Ann"},
        "repository": repository,
        "changes": [change],
    }


def github_headers(door: Door, payload: Any, **changes: str) -> dict[str, str]:
    signature = hexed(door.secret, payload, "sha256=")
    return {"x-github-event": "push", "x-github-delivery": "d-1", "x-hub-signature-256": signature} | changes


def gitlab_headers(door: Door, **changes: str) -> dict[str, str]:
    token = door.secret.decode()
    return {"x-gitlab-event": "Push Hook", "idempotency-key": "d-1", "x-gitlab-token": token} | changes


def gitlab_signed(door: Door, payload: Any, seconds: float = 0) -> dict[str, str]:
    moment = int((door.clock.now() + timedelta(seconds=seconds)).timestamp())
    stamp = standard_webhooks.sign("d-1", moment, json.dumps(payload).encode(), [door.secret])
    return {
        "x-gitlab-event": "Push Hook", "webhook-id": stamp.id, "webhook-timestamp": stamp.timestamp,
        "webhook-signature": stamp.signatures, "idempotency-key": "d-1",
    }  # fmt: skip


def bitbucket_headers(door: Door, payload: Any, **changes: str) -> dict[str, str]:
    signature = hexed(door.secret, payload, "sha256=")
    return {"x-event-key": "repo:push", "x-request-uuid": "d-1", "x-hub-signature": signature} | changes


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


class TestEachForge:
    def sent(self, home: Path, forge: str) -> tuple[Door, Answer]:
        return self.send(Door(home, forge), forge)

    def send(self, door: Door, forge: str) -> tuple[Door, Answer]:
        payload: Any = {"gitlab": like_gitlab, "bitbucket": like_bitbucket}.get(forge, like_github)()
        headers = {
            "github": lambda: github_headers(door, payload),
            "gitlab": lambda: gitlab_headers(door),
            "gitea": lambda: self.gitea(door, payload, "gitea"),
            "forgejo": lambda: self.gitea(door, payload, "forgejo"),
            "bitbucket": lambda: bitbucket_headers(door, payload),
        }[forge]()
        return door, door.post(payload, headers)

    def gitea(self, door: Door, payload: Any, family: str) -> dict[str, str]:
        signature = hexed(door.secret, payload)
        return {
            f"x-{family}-event": "push",
            f"x-{family}-delivery": "d-1",
            f"x-{family}-signature": signature,
        }

    @pytest.mark.parametrize("forge", FORGES)
    def test_a_push_is_kept_with_who_and_whence(self, tmp_path: Path, forge: str):
        door, answer = self.sent(tmp_path, forge)
        assert (answer.status, answer.body["duplicate"]) == (202, False)
        (event,) = door.bus.events
        assert event.source == f"/kuznia/webhook/{forge}"
        assert (event.data["forge"], event.data["delivery"]) == (forge, "d-1")
        assert event.data["pusher"].lower() == "ann"
        assert door.heard() == [("main", A, B)]

    @pytest.mark.parametrize("forge", FORGES)
    def test_the_same_delivery_again_is_the_same_event(self, tmp_path: Path, forge: str):
        door, answer = self.sent(tmp_path, forge)
        _, again = self.send(door, forge)
        assert again.body == answer.body | {"duplicate": True}
        assert len(door.bus.events) == 1

    @pytest.mark.parametrize("forge", FORGES)
    def test_nothing_at_all_is_refused_naming_every_header(self, tmp_path: Path, forge: str):
        answer = Door(tmp_path, forge).post({}, {})
        assert answer.status == 400
        for names in FORGES[forge].needs:
            assert names[0] in answer.body["error"]

    @pytest.mark.parametrize("forge", FORGES)
    def test_a_body_that_is_no_push_is_told(self, tmp_path: Path, forge: str):
        door = Door(tmp_path, forge)
        payload = {"repository": {"full_name": NAME}, "project": {"path_with_namespace": NAME}}
        headers = {
            "github": github_headers(door, payload), "gitlab": gitlab_headers(door),
            "bitbucket": bitbucket_headers(door, payload),
        }.get(forge) or self.gitea(door, payload, forge)  # fmt: skip
        answer = door.post(payload, headers)
        assert answer.status == 400
        assert FORGES[forge].title in answer.body["error"]

    def test_a_repository_of_one_forge_is_none_of_another(self, tmp_path: Path):
        door = Door(tmp_path, "gitea")
        answer = door.post(like_github(), github_headers(door, like_github()), "github")
        assert answer.status == 404
        assert "/webhooks/gitea" in answer.body["error"]
        assert door.bus.events == []

    def test_a_forge_that_there_is_not(self, door: Door):
        assert door.post({}, {}, "sourcehut").status == 404


class TestGithub:
    def test_its_sha1_header_proves_nothing(self, door: Door):
        payload = like_github()
        headers = github_headers(door, payload)
        digest = hmac.new(door.secret, json.dumps(payload).encode(), hashlib.sha1).hexdigest()
        del headers["x-hub-signature-256"]
        answer = door.post(payload, headers | {"x-hub-signature": f"sha1={digest}"})
        assert answer.status == 400
        assert "SHA-1" in answer.body["error"]

    def test_a_sha1_value_in_the_right_header_proves_nothing_either(self, door: Door):
        payload = like_github()
        digest = hmac.new(door.secret, json.dumps(payload).encode(), hashlib.sha1).hexdigest()
        answer = door.post(
            payload, github_headers(door, payload, **{"x-hub-signature-256": f"sha1={digest}"})
        )
        assert answer.status == 401

    def test_a_deleted_branch_is_said(self, door: Door):
        payload = like_github(after=NONE)
        assert door.post(payload, github_headers(door, payload)).status == 202
        assert door.heard() == [("main", A, NONE)]

    def test_a_tag_starts_nothing(self, door: Door):
        payload = like_github(ref="refs/tags/v1")
        answer = door.post(payload, github_headers(door, payload))
        assert (answer.status, door.bus.events) == (200, [])


class TestGitlab:
    @pytest.fixture
    def door(self, tmp_path: Path) -> Door:
        return Door(tmp_path, "gitlab", secret=SIGNING)

    def test_a_signature_of_standard_webhooks(self, door: Door):
        assert door.post(like_gitlab(), gitlab_signed(door, like_gitlab())).status == 202

    @pytest.mark.parametrize("seconds", [-301, 301])
    def test_an_old_or_coming_timestamp_is_refused(self, door: Door, seconds: float):
        answer = door.post(like_gitlab(), gitlab_signed(door, like_gitlab(), seconds))
        assert answer.status == 401
        assert "clock" in answer.body["error"]

    @pytest.mark.parametrize("stamp", ["", "soon", "١٢٣", "9" * 400, "-5"])
    def test_a_timestamp_that_is_none(self, door: Door, stamp: str):
        headers = gitlab_signed(door, like_gitlab()) | {"webhook-timestamp": stamp}
        assert door.post(like_gitlab(), headers).status == 401

    def test_the_id_is_signed_too(self, door: Door):
        headers = gitlab_signed(door, like_gitlab()) | {"webhook-id": "d-2"}
        assert door.post(like_gitlab(), headers).status == 401

    def test_an_unsigned_key_beside_it_is_not_the_delivery(self, door: Door):
        headers = gitlab_signed(door, like_gitlab()) | {"idempotency-key": "replayed-under-another"}
        door.post(like_gitlab(), headers)
        assert door.bus.events[0].data["delivery"] == "d-1"

    def test_a_right_token_does_not_make_up_for_a_wrong_signature(self, door: Door):
        headers = gitlab_headers(
            door, **{"webhook-signature": "v1,bm8=", "webhook-id": "d", "webhook-timestamp": "1"}
        )
        assert door.post(like_gitlab(), headers).status == 401

    def test_a_signature_without_what_it_signs(self, door: Door):
        answer = door.post(like_gitlab(), gitlab_headers(door, **{"webhook-signature": "v1,bm8="}))
        assert answer.status == 401
        assert "webhook-timestamp" in answer.body["error"]

    @pytest.mark.parametrize("token", ["", "wrong", "żółw"])
    def test_a_wrong_token(self, door: Door, token: str):
        assert door.post(like_gitlab(), gitlab_headers(door, **{"x-gitlab-token": token})).status == 401

    def test_a_tag(self, door: Door):
        payload = like_gitlab(ref="refs/tags/v1", object_kind="tag_push")
        assert door.post(payload, gitlab_headers(door, **{"x-gitlab-event": "Tag Push Hook"})).status == 200

    def test_a_deleted_branch(self, door: Door):
        payload = like_gitlab(after=NONE, checkout_sha=None)
        assert door.post(payload, gitlab_headers(door)).status == 202

    def test_groups_in_groups(self, tmp_path: Path):
        door = Door(tmp_path, "gitlab", "a/b/c")
        payload = like_gitlab(project={"path_with_namespace": "a/b/c"})
        assert door.post(payload, gitlab_headers(door)).status == 202


class TestForgejo:
    def both(self, door: Door, payload: Any, own: str, gitea: str) -> dict[str, str]:
        return {
            "x-forgejo-event": "push", "x-gitea-event": "push", "x-forgejo-delivery": "d-1", "x-gitea-delivery": "d-2",
            "x-forgejo-signature": own, "x-gitea-signature": gitea,
        }  # fmt: skip

    def test_its_own_header_wins(self, tmp_path: Path):
        door, payload = Door(tmp_path, "forgejo"), like_github()
        right = hexed(door.secret, payload)
        assert door.post(payload, self.both(door, payload, "0" * 64, right)).status == 401
        assert door.post(payload, self.both(door, payload, right, "0" * 64)).status == 202
        assert door.bus.events[0].data["delivery"] == "d-1"

    def test_one_that_has_only_giteas_headers_is_known_too(self, tmp_path: Path):
        door, payload = Door(tmp_path, "forgejo"), like_github()
        headers = self.both(door, payload, "", hexed(door.secret, payload))
        older = {name: value for name, value in headers.items() if "forgejo" not in name}
        assert door.post(payload, older).status == 202


class TestBitbucket:
    @pytest.fixture
    def door(self, tmp_path: Path) -> Door:
        return Door(tmp_path, "bitbucket")

    def send(self, door: Door, payload: Any, **changes: str) -> Answer:
        return door.post(payload, bitbucket_headers(door, payload, **changes))

    def test_several_branches_in_one_push(self, door: Door):
        payload = like_bitbucket(
            {"old": reference("main", A), "new": reference("main", B)},
            {"old": None, "new": reference("next", B)},
            {"old": None, "new": reference("other", B)},
            {"old": None, "new": reference("v1", B, "tag")},
        )
        answer = self.send(door, payload)
        assert answer.status == 202
        assert door.heard() == [("main", A, B), ("next", NONE, B)]
        assert len({event.id for event in door.bus.events}) == 2
        assert len(answer.body["all"]) == 2
        assert self.send(door, payload).body["duplicate"] is True
        assert len(door.bus.events) == 2

    def test_a_deleted_branch(self, door: Door):
        self.send(door, like_bitbucket({"old": reference("main", A), "new": None}))
        assert door.heard() == [("main", A, NONE)]

    def test_only_tags(self, door: Door):
        answer = self.send(door, like_bitbucket({"old": None, "new": reference("v1", B, "tag")}))
        assert (answer.status, answer.body) == (
            200,
            {"ignored": "refs/tags/v1 is no branch; tags start nothing"},
        )

    def test_nothing_moved(self, door: Door):
        assert self.send(door, like_bitbucket({"old": None, "new": None})).status == 200

    def test_sha1_is_refused_under_the_same_header(self, door: Door):
        payload = like_bitbucket()
        digest = hmac.new(door.secret, json.dumps(payload).encode(), hashlib.sha1).hexdigest()
        assert self.send(door, payload, **{"x-hub-signature": f"sha1={digest}"}).status == 401

    def test_a_webhook_without_a_secret_is_told_so(self, door: Door):
        headers = bitbucket_headers(door, like_bitbucket())
        del headers["x-hub-signature"]
        answer = door.post(like_bitbucket(), headers)
        assert answer.status == 400
        assert "secret" in answer.body["error"]

    @pytest.mark.parametrize(
        ("kind", "before", "after"), [("UPDATE", A, B), ("ADD", NONE, B), ("DELETE", A, NONE)]
    )
    def test_server(self, tmp_path: Path, kind: str, before: str, after: str):
        door = Door(tmp_path, "bitbucket", "ORG/config")
        payload = like_bitbucket_server(kind, before, after)
        headers = bitbucket_headers(
            door, payload, **{"x-event-key": "repo:refs_changed", "x-request-id": "d-9"}
        )
        del headers["x-request-uuid"]
        assert door.post(payload, headers).status == 202
        assert door.heard() == [("main", before, after)]

    def test_a_test_of_the_connection(self, door: Door):
        payload = {"test": True}
        answer = self.send(door, payload, **{"x-event-key": "diagnostics:ping"})
        assert (answer.status, answer.body) == (200, {"ignored": "pong"})


class TestRotation:
    def send(self, door: Door, secret: bytes, delivery: str) -> int:
        payload = like_github()
        signature = hexed(secret, payload, "sha256=")
        return door.post(
            payload,
            github_headers(door, payload) | {"x-hub-signature-256": signature, "x-github-delivery": delivery},
        ).status

    def test_both_hold_until_the_old_one_ends(self, door: Door):
        old = door.secret
        new = rotate_webhook_secret(door.home, NAME, door.clock.now() + timedelta(days=7))
        assert old != new
        assert [self.send(door, old, "1"), self.send(door, new, "2")] == [202, 202]
        door.clock.move(7 * 86400 - 1)
        assert self.send(door, old, "3") == 202
        door.clock.move(1)
        assert [self.send(door, old, "4"), self.send(door, new, "5")] == [401, 202]

    def test_the_old_one_can_be_dropped(self, door: Door):
        old = door.secret
        rotate_webhook_secret(door.home, NAME, door.clock.now() + timedelta(days=7))
        assert drop_old_webhook_secret(door.home, NAME)
        assert not drop_old_webhook_secret(door.home, NAME)
        assert self.send(door, old, "1") == 401

    def test_two_rotations_leave_two(self, door: Door):
        first = door.secret
        until = door.clock.now() + timedelta(days=7)
        second = rotate_webhook_secret(door.home, NAME, until)
        third = rotate_webhook_secret(door.home, NAME, until)
        assert [self.send(door, secret, str(at)) for at, secret in enumerate((first, second, third))] == [
            401,
            202,
            202,
        ]

    def test_secrets_are_for_their_owner_alone(self, door: Door):
        rotate_webhook_secret(door.home, NAME, door.clock.now())
        modes = {path.stat().st_mode & 0o777 for path in (door.home / "secrets").iterdir()}
        assert modes == {0o600}


@pytest.fixture
def client(door: Door) -> Iterator[TestClient]:
    with TestClient(Starlette(routes=[route(door.receiver, 1000)])) as client:
        yield client


def test_over_http_each_forge_has_its_way(door: Door, client: TestClient):
    body = json.dumps(like_github()).encode()
    headers = github_headers(door, like_github())
    assert client.post("/webhooks/github", content=body, headers=headers).status_code == 202
    assert client.post("/webhooks/gitlab", content=body, headers=headers).status_code == 400
    assert client.post("/webhooks/none", content=body, headers=headers).status_code == 404
    assert client.post("/webhooks/a/b", content=body, headers=headers).status_code == 404
    assert client.get("/webhooks/github").status_code == 405
