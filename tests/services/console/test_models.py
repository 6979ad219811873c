"""Models over the wire: filters, pages, all the fields, documents, conditional requests."""

from __future__ import annotations

from typing import get_args

import pytest

from services.console.api.models import preferred
from services.console.schemas.models import ModelStatus
from shared.identity import content_digest
from shared.lifecycle import TRANSITIONS
from tests.services.console.scene import QA, fill

ONE = f"/api/v1/models/{QA}"
LIVE = f"{ONE}/versions/1.1.0"
BRIEF = [
    "model_id",
    "version",
    "base_model",
    "tenant",
    "risk_class",
    "status",
    "artifact_path",
    "config_path",
    "data_id",
    "metrics",
    "owner",
    "created_at",
    "updated_at",
    "ai_act_notes",
]


def names(page) -> list[str]:
    return [f"{item['model_id']}@{item['version']}" for item in page["items"]]


def test_all_versions_of_all_models(client):
    page = client.get("/api/v1/models").json
    assert names(page) == [f"{QA}@1.0.0", f"{QA}@1.1.0", "team-y.sorter.v0@4f1c2d3e4f1c"]
    assert [item["live"] for item in page["items"]] == [False, True, False]
    assert page["next"] is None


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tenant=team-y", ["team-y.sorter.v0@4f1c2d3e4f1c"]),
        ("status=DEPLOYED", [f"{QA}@1.1.0"]),
        ("name=team-x.llm", [f"{QA}@1.0.0", f"{QA}@1.1.0"]),
        ("name=team-x.llm&tenant=team-y", []),
        ("tenant=team-x&status=DEPRECATED", [f"{QA}@1.0.0"]),
        ("tenant=team", []),
    ],
)
def test_filters(client, query, expected):
    assert names(client.get(f"/api/v1/models?{query}").json) == expected


def test_a_cursor_walks_through_everything_once(client):
    walked, after = [], ""
    for _ in range(3):
        page = client.get(f"/api/v1/models?limit=1&after={after}").json
        walked += names(page)
        after = page["next"]
    assert walked == names(client.get("/api/v1/models").json)
    assert after is None


def test_a_filter_reads_on_until_its_page_is_full(empty):
    world, client = empty
    for number in range(7):
        world.model(f"team-x.m{number}.v1", "1.0.0", "r-1", tenant="team-x" if number % 3 == 0 else "team-z")
    page = client.get("/api/v1/models?tenant=team-x&limit=2&name=team-x.m").json
    assert names(page) == ["team-x.m0.v1@1.0.0", "team-x.m3.v1@1.0.0"]
    rest = client.get(f"/api/v1/models?tenant=team-x&limit=2&name=team-x.m&after={page['next']}").json
    assert (names(rest), rest["next"]) == (["team-x.m6.v1@1.0.0"], None)


def test_a_version_has_all_the_fields_of_the_brief_and_what_binds_them(client):
    record = client.get(LIVE).json
    assert [field for field in BRIEF if not record[field]] == []
    assert record["commit"] == "4f1c2d3e" * 5
    assert record["run_id"] == "r-00000000000000a1"
    assert record["validation"]["gates"][0] == {
        "metric": "exact_match",
        "demand": ">= 0.8",
        "measured": 0.96,
        "passed": True,
    }
    assert record["release"] == {
        "state": "live",
        "address": "127.0.0.1:41000",
        "release": "qa-1.1.0",
        "weight": None,
        "since": "",
        "took": 0.0,
    }
    assert record["card"]["missing"] == ["contact.incidents"]
    assert record["card_digest"] == record["card"]["digest"]
    assert record["approvals"] == []
    assert record["dead"] is None


def test_a_deprecated_version_says_by_whom_and_what_took_over(client):
    record = client.get(f"{ONE}/versions/1.0.0").json
    assert record["status"] == "DEPRECATED"
    assert record["deprecation"]["successor"] == "1.1.0"
    assert record["release"]["state"] == "stopped"
    assert not record["live"]


def test_a_model_lists_its_versions_newest_first_and_what_answers(client):
    model = client.get(ONE).json
    assert [entry["version"] for entry in model["versions"]] == ["1.1.0", "1.0.0"]
    assert (model["live"], model["previous"], model["tenant"]) == ("1.1.0", "1.0.0", "team-x")


def test_releases(client):
    page = client.get("/api/v1/releases").json
    assert [(item["model_id"], item["live"], item["previous"]) for item in page["items"]] == [
        (QA, "1.1.0", "1.0.0")
    ]
    assert page["items"][0]["versions"]["1.0.0"]["state"] == "stopped"
    assert client.get("/api/v1/releases?tenant=team-y").json == {"items": [], "next": None}
    assert client.get(f"/api/v1/releases/{QA}").json == page["items"][0]


def test_a_canary_is_told_with_its_shares_its_figures_and_its_ends(empty):
    world, client = empty
    fill(world)
    record = world.store.load(f"releases/{QA}")
    versions = dict(record.data["versions"])
    versions["1.0.0"] = {**versions["1.0.0"], "state": "canary", "took": 41.5}
    rollout = {
        "number": 2, "version": "1.0.0", "against": "1.1.0", "state": "held", "step": 1, "by": "ben",
        "reason": "3 of 50 requests in 60 minutes", "began": "2026-01-05T08:00:00+00:00",
        "figures": {"1.0.0": {"requests": 3, "errors": 1, "ttft": [1, 2], "latency": [3]}},
    }  # fmt: skip
    over = {
        "number": 1,
        "version": "1.0.0",
        "against": "1.1.0",
        "what": "aborted",
        "by": "ann",
        "reason": "slow",
    }
    shares = {"1.1.0": 0.75, "1.0.0": 0.25}
    world.put(
        f"releases/{QA}",
        "ACTIVE",
        **{**record.data, "versions": versions, "weights": shares, "rollout": rollout, "rollouts": [over]},
    )
    told = client.get(f"/api/v1/releases/{QA}").json
    assert (told["weights"], told["rollout"]["state"], told["rollout"]["by"]) == (shares, "held", "ben")
    assert told["rollout"]["figures"] == {"1.0.0": {"requests": 3, "errors": 1}}
    assert [(one["what"], one["by"], one["reason"]) for one in told["rollouts"]] == [
        ("aborted", "ann", "slow")
    ]
    assert client.get(f"/api/v1/models/{QA}/versions/1.0.0").json["release"]["weight"] == 0.25
    page = client.get(f"/models/{QA}/1.0.0").text
    assert "It gets 25 % of the requests" in page
    assert client.get("/api/v1/releases/team-x.none.v1").status == 404


@pytest.mark.parametrize(("state", "line"), [("asleep", "Asleep."), ("starting", "Requests wait")])
def test_a_version_that_sleeps_or_starts_says_so(empty, state, line):
    world, client = empty
    fill(world)
    record = world.store.load(f"releases/{QA}")
    versions = dict(record.data["versions"])
    versions["1.1.0"] = {**versions["1.1.0"], "state": state, "took": 41.5}
    world.put(f"releases/{QA}", "ACTIVE", **{**record.data, "versions": versions})
    page = client.get(f"/models/{QA}/1.1.0").text
    assert line in page
    assert "42 s" in page


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/api/v1/models/team-x.none.v1", "models/team-x.none.v1"),
        ("/api/v1/models/team-x.llm-qa", "models/team-x.llm-qa"),
        (f"{ONE}/versions/9.9.9", f"models/{QA}@9.9.9"),
        (
            "/api/v1/models/team-y.sorter.v0/versions/4f1c2d3e4f1c/card",
            "models/team-y.sorter.v0@4f1c2d3e4f1c",
        ),
        (
            "/api/v1/models/team-y.sorter.v0/versions/4f1c2d3e4f1c/report",
            "models/team-y.sorter.v0@4f1c2d3e4f1c",
        ),
    ],
)
def test_what_is_not_there_is_said_in_the_one_shape(client, path, where):
    answer = client.get(path)
    assert answer.status == 404
    error = answer.json["error"]
    assert set(error) == {"what", "where", "mend"}
    assert all(error.values())
    assert error["where"] == where


def test_an_etag_saves_the_body_until_something_changes(empty):
    world, client = empty
    world.model(QA, "1.0.0", "r-1")
    for path in (ONE, f"{ONE}/versions/1.0.0"):
        etag = client.get(path).headers["etag"]
        assert etag.startswith('"')
        again = client.get(path, if_none_match=f'"other", W/{etag}')
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
        assert client.get(path, if_none_match="*").status == 304
    etags = [client.get(path).headers["etag"] for path in (ONE, f"{ONE}/versions/1.0.0")]
    world.carry_to_deployed(QA, "1.0.0")
    assert [client.get(path).headers["etag"] for path in (ONE, f"{ONE}/versions/1.0.0")] != etags
    etags = [client.get(path).headers["etag"] for path in (ONE, f"{ONE}/versions/1.0.0")]
    world.release(QA, "1.0.0")
    fresh = [client.get(path, if_none_match=etags[0]) for path in (ONE, f"{ONE}/versions/1.0.0")]
    assert [answer.status for answer in fresh] == [200, 200]
    assert fresh[1].json["live"]


def test_the_card_as_markdown_and_as_json(client, world):
    text = client.get(f"{LIVE}/card")
    assert text.headers["content-type"].startswith("text/markdown")
    assert text.headers["x-registered-digest"] == content_digest(text.body)
    assert text.headers["vary"] == "Accept"
    for answer in (
        client.get(f"{LIVE}/card?format=json"),
        client.get(f"{LIVE}/card", accept="application/json"),
    ):
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["identification"] == {"model_id": "x"}
    both = client.get(f"{LIVE}/card?format=md", accept="application/json")
    assert both.body == text.body
    assert client.get(f"{LIVE}/card", if_none_match=text.headers["etag"]).status == 304
    assert client.get(f"{LIVE}/card?format=pdf").status == 422


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "md"),
        ("*/*", "md"),
        ("application/json", "json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "md"),
        ("application/json, text/plain, */*;q=0.1", "json"),
        ("text/markdown, application/json;q=0.9", "md"),
        ("text/markdown;q=0.2, application/json;q=0.9", "json"),
        ("application/json;q=nonsense", "json"),
    ],
)
def test_which_form_is_preferred(accept, form):
    assert preferred(accept) == form


def test_the_report(client):
    answer = client.get(f"{LIVE}/report")
    assert answer.headers["content-type"].startswith("text/markdown")
    assert "24 of 25" in answer.text
    assert answer.headers["x-registered-digest"] == content_digest(answer.body)


def test_a_card_that_vanished_from_the_store_says_where_it_should_be(empty):
    world, client = empty
    world.model(QA, "1.0.0", "r-1")
    world.carry_to_deployed(QA, "1.0.0")
    del world.files.content["cards/1.0.0/README.md"]
    answer = client.get(f"{ONE}/versions/1.0.0/card")
    assert answer.status == 404
    assert "file:///store/cards/1.0.0/README.md" in answer.json["error"]["mend"]


def test_a_record_that_does_not_read_is_named(empty):
    world, client = empty
    world.model(QA, "1.0.0", "r-1", metrics="none")
    answer = client.get("/api/v1/models")
    assert answer.status == 500
    assert answer.json["error"]["where"] == f"models/{QA}@1.0.0"
    assert "metrics" in answer.json["error"]["what"]


def test_the_statuses_are_the_lifecycle_s():
    assert set(get_args(ModelStatus)) == {after for _, after in TRANSITIONS["models"]}
