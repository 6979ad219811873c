"""Runs over the wire: filters, loss curve, faults, logs."""

from __future__ import annotations

from typing import get_args

import pytest

from services.console.schemas.runs import RunStatus
from shared.lifecycle import TRANSITIONS
from tests.services.console.scene import REFUSED, RUN, RUNNING


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [RUN, RUNNING, REFUSED]),
        ("status=TRAINING", [RUNNING]),
        ("tenant=team-x", [RUN, RUNNING]),
        ("tenant=team-x&limit=1", [RUN]),
        (f"after={RUN}", [RUNNING, REFUSED]),
        ("model_id=team-x.llm-qa.v1&status=SUCCEEDED", [RUN]),
        ("model_id=team-x.other.v1", []),
    ],
)
def test_filters(client, query, expected):
    assert [run["run_id"] for run in client.get(f"/api/v1/runs?{query}").json["items"]] == expected


def test_a_run_under_way_has_its_progress_and_its_losses(client):
    run = client.get(f"/api/v1/runs/{RUNNING}").json
    assert (run["status"], run["progress"]["step"], run["progress"]["total_steps"]) == ("TRAINING", 21, 48)
    assert [point["step"] for point in run["losses"]] == list(range(1, 22))
    losses = [point["loss"] for point in run["losses"]]
    assert losses == sorted(losses, reverse=True)
    assert run["checkpoints"][0]["loss"] == losses[9]
    assert (run["repository"], run["experiment"], run["branch"]) == ("experiments", "qa", "main")


def test_a_step_taken_again_counts_as_last_measured(empty):
    world, client = empty
    world.run("r-1", "team-x.qa.v1", "1.0.0", 4)
    world.say("training-progressed", "runs/r-1", {"run_id": "r-1", "attempt": 2, "step": 3, "loss": 9.5})
    world.say("training-progressed", "runs/r-1", {"run_id": "r-1", "attempt": 2, "step": 5, "loss": None})
    losses = client.get("/api/v1/runs/r-1").json["losses"]
    assert [point["step"] for point in losses] == [1, 2, 3, 4]
    assert losses[2]["loss"] == 9.5


def test_an_etag_follows_the_record_and_the_log(empty):
    world, client = empty
    world.run("r-1", "team-x.qa.v1", "1.0.0", 4)
    first = client.get("/api/v1/runs/r-1").headers["etag"]
    assert client.get("/api/v1/runs/r-1", if_none_match=first).status == 304
    world.say("training-progressed", "runs/r-1", {"run_id": "r-1", "attempt": 1, "step": 5, "loss": 1.0})
    second = client.get("/api/v1/runs/r-1", if_none_match=first)
    assert second.status == 200
    world.put("runs/r-1", "FAILED", cause="OutOfMemory: the trainer was killed")
    third = client.get("/api/v1/runs/r-1", if_none_match=second.headers["etag"])
    assert (third.status, third.json["cause"]) == (200, "OutOfMemory: the trainer was killed")


def test_a_refused_run_tells_all_its_faults_and_has_no_log(client):
    run = client.get(f"/api/v1/runs/{REFUSED}").json
    assert (run["status"], len(run["faults"]), run["model_id"]) == ("REJECTED", 2, "")
    log = client.get(f"/api/v1/runs/{REFUSED}/logs")
    assert log.status == 404
    assert "never started" in log.json["error"]["what"]


def test_the_tail_of_a_log(client):
    log = client.get(f"/api/v1/runs/{RUN}/logs?tail=1")
    assert (log.status, log.text) == (200, "<b>done</b>\n")
    assert log.headers["content-type"].startswith("text/plain")
    assert log.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"/api/v1/runs/{RUN}/logs?tail=0").status == 422


def test_a_job_that_wrote_nothing_yet(empty):
    world, client = empty
    world.run("r-1", "team-x.qa.v1", "1.0.0", 1)
    world.cluster.text.clear()
    assert client.get("/api/v1/runs/r-1/logs").status == 404
    assert "has not written anything yet" in client.get("/runs/r-1").text


def test_no_such_run(client):
    for path in ("/api/v1/runs/r-none", "/api/v1/runs/r-none/logs"):
        answer = client.get(path)
        assert (answer.status, answer.json["error"]["where"]) == (404, "runs/r-none")


def test_the_statuses_are_the_lifecycle_s():
    assert set(get_args(RunStatus)) == {after for _, after in TRANSITIONS["runs"]}
