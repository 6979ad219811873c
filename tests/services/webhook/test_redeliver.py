"""Deliveries that never reached us are asked for again, at GitHub and GitLab; sparingly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.webhook import missed
from services.webhook.forges.failed import MOST_ASKED, MOST_TRIES, Delivery, ask_again, to_ask
from shared.errors import Retry
from shared.record import Record
from tests.memory import START, ManualClock, MemoryBus, MemoryStore
from tests.services.other_side import Asked, OtherSide, Told, listening

NOW = START


def tried(guid: str, *, minutes: float, status: int, number: int = 1, event: str = "push") -> Delivery:
    return Delivery(number, guid, NOW - timedelta(minutes=minutes), status, event)


@pytest.mark.parametrize(
    ("deliveries", "asked"),
    [
        ([tried("a", minutes=2, status=502)], ["a"]),
        ([tried("a", minutes=2, status=0)], ["a"]),
        ([tried("a", minutes=2, status=200)], []),
        ([tried("a", minutes=2, status=401)], []),
        ([tried("a", minutes=2, status=502, event="ping")], []),
        ([tried("a", minutes=0.5, status=502)], []),
        ([tried("a", minutes=60 * 49, status=502)], []),
        ([tried("a", minutes=9, status=502), tried("a", minutes=5, status=202)], []),
        ([tried("a", minutes=9, status=502), tried("a", minutes=1.5, status=502)], []),
        ([tried("a", minutes=9, status=502), tried("a", minutes=2.5, status=502)], ["a"]),
        ([tried("b", minutes=3, status=502), tried("a", minutes=5, status=504)], ["a", "b"]),
        ([tried("a", minutes=600 - at, status=502) for at in range(MOST_TRIES)], []),
    ],
)
def test_which_are_asked_for(deliveries: list[Delivery], asked: list[str]):
    assert [delivery.guid for delivery in to_ask(deliveries, NOW)] == asked


def test_the_newest_attempt_is_the_one_that_is_repeated():
    deliveries = [tried("a", minutes=9, status=502, number=1), tried("a", minutes=5, status=502, number=2)]
    assert [delivery.id for delivery in to_ask(deliveries, NOW)] == [2]


@pytest.fixture
def github() -> Iterator[OtherSide]:
    with listening(OtherSide()) as other:
        yield other


def repository(home: Path, api: str, **changes: Any) -> Record:
    token = home / "token"
    token.write_text("ghp-1\n")
    data = {"url": "https://nowhere.example/c.git", "branches": ["main"], "forge": "github", "api": api}
    data |= {"token_file": str(token), "hook_id": 7, **changes}
    return Record(key="repositories/org/config", status="CONNECTED", data=data)


def listed(asked: Asked) -> Told:
    if asked.method == "POST":
        return Told(202)
    at = (NOW - timedelta(minutes=5)).isoformat()
    return Told(
        200,
        [
            {
                "id": 11,
                "guid": "g",
                "delivered_at": at,
                "status": "timeout",
                "status_code": 502,
                "event": "push",
                "x": 1,
            }
        ],
    )


def test_what_failed_is_asked_for(tmp_path: Path, github: OtherSide):
    github.answer = listed
    assert ask_again(repository(tmp_path, github.url), NOW) == 1
    listing, attempt = github.asked
    assert listing.path == "/repos/org/config/hooks/7/deliveries?per_page=100"
    assert attempt.path == "/repos/org/config/hooks/7/deliveries/11/attempts"
    assert attempt.method == "POST"
    assert {asked.headers["authorization"] for asked in github.asked} == {"Bearer ghp-1"}


@pytest.mark.parametrize(
    "changes", [{"forge": "gitea"}, {"token_file": ""}, {"hook_id": None}, {"token_file": "/none"}]
)
def test_nothing_is_asked_where_it_cannot_be(tmp_path: Path, github: OtherSide, changes: dict[str, Any]):
    assert ask_again(repository(tmp_path, github.url, **changes), NOW) == 0
    assert github.asked == []


@pytest.mark.parametrize("told", [Told(403), Told(200, {"no": "list"}), Told(200)])
def test_an_api_that_answers_otherwise_is_tried_later(tmp_path: Path, github: OtherSide, told: Told):
    github.answer = lambda _asked: told
    with pytest.raises(Retry):
        ask_again(repository(tmp_path, github.url), NOW)


def test_a_redirect_to_another_host_is_not_followed_with_the_token(tmp_path: Path, github: OtherSide):
    with listening(OtherSide()) as other:
        github.answer = lambda _asked: Told(302, headers={"location": f"{other.url}/stolen"})
        with pytest.raises(Retry, match="302"):
            ask_again(repository(tmp_path, github.url), NOW)
        assert other.asked == []


def test_the_heads_are_looked_at_whatever_the_api_says(
    tmp_path: Path, github: OtherSide, monkeypatch: pytest.MonkeyPatch
):
    github.answer = lambda _asked: Told(500)
    monkeypatch.setattr(missed, "remote_heads", lambda _url: {"main": "c" * 40})
    store, clock = MemoryStore(), ManualClock()
    bus = MemoryBus(clock)
    store.commit(repository(tmp_path, github.url))
    assert missed.look(store, bus, clock) == 1  # type: ignore[arg-type]
    assert [event.data["after"] for event in bus.events] == ["c" * 40]


def gitlab_listed(asked: Asked) -> Told:
    if asked.method == "POST":
        return Told(201, {"response_status": 200})
    sent = {"Idempotency-Key": "k-1", "X-Gitlab-Event": "Push Hook"}
    rows = [
        {"id": 31, "trigger": "push_hooks", "request_headers": sent, "response_status": "internal error"},
        {"id": 32, "trigger": "push_hooks", "request_headers": sent, "response_status": "502"},
        {"id": 33, "trigger": "tag_push_hooks", "request_headers": {}, "response_status": "500"},
        {
            "id": 34,
            "trigger": "push_hooks",
            "request_headers": {"X-Gitlab-Event-UUID": "u"},
            "response_status": "202",
        },
        {
            "id": 35,
            "trigger": "push_hooks",
            "request_headers": {"X-Gitlab-Event-UUID": "u"},
            "response_status": "500",
        },
    ]
    return Told(200, rows)


def test_gitlab_is_asked_too(tmp_path: Path, github: OtherSide):
    github.answer = gitlab_listed
    connected = repository(tmp_path, f"{github.url}/api/v4", forge="gitlab")
    assert ask_again(connected, NOW) == 1
    listing, attempt = github.asked
    assert listing.path == "/api/v4/projects/org%2Fconfig/hooks/7/events?per_page=100"
    assert listing.headers["private-token"] == "ghp-1"
    assert (attempt.method, attempt.path.rsplit("/hooks/7/")[1]) in {
        ("POST", "events/31/resend"),
        ("POST", "events/32/resend"),
    }


def test_no_more_are_asked_for_at_once_than_a_forge_lets_through(tmp_path: Path, github: OtherSide):
    def many(asked: Asked) -> Told:
        row = {"trigger": "push_hooks", "response_status": "500"}
        return Told(201) if asked.method == "POST" else Told(200, [{**row, "id": n} for n in range(20)])

    github.answer = many
    assert ask_again(repository(tmp_path, github.url, forge="gitlab"), NOW) == MOST_ASKED
