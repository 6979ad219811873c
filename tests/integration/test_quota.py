"""Queue and budget with real processes: who waits can be read, and who has used up his hours loses nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.podkit import manifests
from tests.integration import ends
from tests.integration.installation import TENANT, Installation
from tests.integration.repository import Repository

pytestmark = pytest.mark.slow
ENDLESS = {"max_steps": 1_000_000, "save_steps": 1_000_000}  # only a stop makes it save
MOMENT = "0.0001"  # GPU hours: a third of a second
CALM = {"STANDIN_STEP_SECONDS": "0.05"}


def test_one_waits_for_the_other_and_both_end_by_their_hours(
    installation: Installation, repository: Repository
) -> None:
    """One slot for two pushes; the first is stopped by the tenant's hours, the second by its own."""
    installation.options |= CALM
    installation.kuznia("quota", "set", TENANT, "--runs", "1", "--reason", "one machine")
    installation.up()
    first = repository.send("amber", config=ENDLESS)
    _wait_steps(installation, first)
    budget = {"resources": {"budget_hours": float(MOMENT)}}
    second = repository.send("birch", config=ENDLESS, manifest=budget)
    installation.wait("the second waits", lambda: _run(installation, second).get("queue"))
    why = f"{TENANT} trains 1 of 1 at once"
    _waits(installation, second, why)
    assert [job.name for job in ends.workloads(installation) if job.name.startswith(f"train-{second}")] == []

    installation.kuznia("quota", "set", TENANT, "--gpu-hours", MOMENT)
    data = _stopped(installation, first, f"budget: the GPU hours of {TENANT} are used up for this month")
    _saved(installation, data)
    used_up = f"{TENANT} has used"
    installation.wait("its hours are why", lambda: used_up in str(_run(installation, second)["queue"]))
    assert installation.record(f"runs/{second}").status == "QUEUED"

    installation.kuznia("quota", "set", TENANT, "--gpu-hours", "unlimited")
    _stopped(installation, second, f"of its {float(MOMENT):g} GPU hours are used up")
    assert [event.data["job"] for event in installation.events("training-started", f"runs/{second}")] == [
        f"train-{second}"
    ]
    assert installation.record("slots/training").data["running"] == {}
    assert "--budget-hours" in installation.kuznia("retry", second, code=1)
    assert ends.dead(installation) == []


def _run(installation: Installation, run: str) -> dict[str, Any]:
    return installation.record(f"runs/{run}").data


def _wait_steps(installation: Installation, run: str) -> None:
    installation.wait(f"{run} trains", lambda: _run(installation, run).get("progress", {}).get("step"))


def _waits(installation: Installation, run: str, why: str) -> None:
    """As a person reads it, and as a program does."""
    (row,) = [line for line in installation.kuznia("runs").splitlines() if run in line]
    assert "QUEUED" in row
    assert f"1 of 1 waiting: {why}" in row
    assert why in installation.kuznia("quota", "list")
    told = json.loads(installation.kuznia("quota", "list", "--json"))
    assert told["waiting"] == [{"place": 1, "run": run, "tenant": TENANT, "why": why}]
    assert [(quota["training"], quota["runs"]) for quota in told["quotas"] if quota["tenant"] == TENANT] == [
        (1, 1)
    ]


def _stopped(installation: Installation, run: str, cause: str) -> dict[str, Any]:
    """It was told to stop, and says why to whoever looks, and how to go on."""
    data = installation.wait_status(f"runs/{run}", "FAILED").data
    assert cause in data["cause"]
    assert f"kuznia retry {run}" in data["cause"]
    assert cause in installation.kuznia("runs")
    assert data["gpu_hours"] > float(MOMENT)
    return data


def _saved(installation: Installation, data: dict[str, Any]) -> None:
    """It lost nothing: where it stood lies whole in the store."""
    (checkpoint,) = data["checkpoints"]
    assert checkpoint["step"] >= data["progress"]["step"] > 0
    prefix = manifests.store_path(installation.ports.artifacts, checkpoint["uri"])
    loaded = manifests.load(installation.ports.artifacts, prefix)
    assert loaded is not None
    assert manifests.faults(installation.ports.artifacts, prefix, loaded[0]) == []
