"""The log and the dead letters over the wire."""

from __future__ import annotations

import pytest

from events.envelope import from_structured_json

ODD = "of%20another%2Fsystem"


def names(page) -> list[str]:
    return [item["event"]["type"].split(".")[2] for item in page["items"]]


@pytest.mark.parametrize("type_", ["config-committed", "dev.kuznia.config-committed.v1"])
def test_by_type_short_or_whole(client, type_):
    assert names(client.get(f"/api/v1/events?type={type_}").json) == ["config-committed"] * 3


def test_by_subject_in_both_orders(client):
    query = "/api/v1/events?subject=models/team-x.llm-qa.v1@1.0.0"
    assert names(client.get(query).json) == ["model-registered", "model-deployed"]
    assert names(client.get(f"{query}&order=newest").json) == ["model-deployed", "model-registered"]


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_cursor_walks_through_everything_once(client, order):
    whole = [
        item["position"] for item in client.get(f"/api/v1/events?limit=1000&order={order}").json["items"]
    ]
    walked, after = [], 0
    while after is not None:
        page = client.get(f"/api/v1/events?limit=7&order={order}&after={after}").json
        walked += [item["position"] for item in page["items"]]
        after = page["next"]
    assert walked == whole
    assert len(whole) == len(set(whole)) > 70


def test_between_two_moments_in_any_zone(client):
    said = client.get("/api/v1/events?type=model-registered").json["items"][0]["event"]["time"]
    assert said == "2026-11-02T09:00:54Z"
    query = "/api/v1/events?type=model-registered"
    assert names(client.get(f"{query}&since=2026-11-02T09:00:54&until=2026-11-02T09:00:55").json) == [
        "model-registered"
    ]
    assert names(client.get(f"{query}&since=2026-11-02T11:00:54%2B02:00").json) == ["model-registered"]
    assert names(client.get(f"{query}&until=2026-11-02T09:00:54Z").json) == []


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("type=model-registred", 400, "model-registered"),
        ("type=dev.kuznia.model-registered.v9", 400, "dev.kuznia."),
        ("since=2026-11-03&until=2026-11-02", 400, "not before"),
        ("since=yesterday", 422, "since"),
        ("limit=1001&after=-1&colour=red", 422, "colour"),
    ],
)
def test_a_wrong_question_is_told_in_full(client, query, status, word):
    answer = client.get(f"/api/v1/events?{query}")
    assert answer.status == status
    assert set(answer.json["error"]) == {"what", "where", "mend"}
    assert word in answer.json["error"]["what"]


def test_every_fault_of_a_question_at_once(client):
    where = client.get("/api/v1/events?limit=1001&after=-1&colour=red").json["error"]["where"]
    assert where.split(", ") == ["query: after", "query: limit", "query: colour"]


def test_one_event_can_be_published_again_as_it_came(client, world):
    answer = client.get(f"/api/v1/events/{ODD}")
    assert answer.headers["content-type"] == "application/cloudevents+json"
    assert from_structured_json(answer.body) == world.bus.event("of another/system")
    assert client.get(f"/api/v1/events/{ODD}", if_none_match=answer.headers["etag"]).status == 304


def test_no_such_event(client):
    answer = client.get("/api/v1/events/none")
    assert (answer.status, answer.json["error"]["where"]) == (404, "events")


def test_dead_letters_say_who_gave_up_and_why(client):
    (letter,) = client.get("/api/v1/dead").json["items"]
    assert letter["event"]["id"] == "of another/system"
    assert (letter["service"], letter["attempts"]) == ("webhook", 1)
    assert letter["cause"] == "Reject: the repository <is> not connected"
