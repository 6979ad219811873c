"""One model's life with real processes: a way back to an engine that stands by, a canary under load, sleep."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import pytest

from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.load import Load
from tests.integration.repository import Repository, model_id

pytestmark = pytest.mark.slow
BLUE = {"strategy": "blue-green", "keep_minutes": 10}
SLEEPY_CANARY = {
    "strategy": "canary",
    "canary": {"steps": [{"weight": 0.4, "minutes": 0.1, "requests": 20}], "max_ttft_ratio": 100, "max_latency_ratio": 100},
    "scale_to_zero_minutes": 0.15,
    "cold_start_seconds": 60,
}  # fmt: skip


def test_switched_back_compared_and_put_to_sleep(installation: Installation, repository: Repository) -> None:
    installation.options |= {"KUZNIA_RECONCILE_SECONDS": "0.5"}
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    with Load(installation) as load:
        installation.wait("1.0.0 answers", lambda: load.answered_by("1.0.0"))
        repository.send(version="1.1.0", manifest={"deployment": BLUE})
        installation.wait("1.1.0 answers", lambda: load.answered_by("1.1.0"))

        standing = _switch(installation, load, "1.0.0", "rollback", model_id())
        assert _version(installation, "1.0.0")["starts"] == 1  # it needed no other engine
        _switch(
            installation, load, "1.1.0", "deploy", model_id(), "--version", "1.1.0", "--strategy", "replace"
        )
        cold = _switch(installation, load, "1.0.0", "rollback", model_id(), "--to", "1.0.0")
        assert _version(installation, "1.0.0")["starts"] == 2
        assert standing < cold
        sys.stdout.write(f"to an engine that stands by: {standing:.3f} s; to one that starts: {cold:.3f} s\n")

        repository.send(version="1.2.0", manifest={"deployment": SLEEPY_CANARY})
        installation.wait("the canary has ended", lambda: _release(installation).get("rollouts"))
        (over,) = _release(installation)["rollouts"]
        assert over["what"] == "finished", over["reason"]
        assert over["reason"].startswith("its canary did well")
        installation.wait("1.2.0 answers alone", lambda: _release(installation)["live"] == "1.2.0")
    assert load.failures == []

    installation.wait("1.2.0 sleeps", lambda: _version(installation, "1.2.0")["state"] == "asleep")
    engine = _version(installation, "1.2.0")["release"]
    installation.wait("its engine has ended", lambda: engine not in _up(installation))
    ends.answers(installation)
    assert _version(installation, "1.2.0")["starts"] == 2
    assert len({event.data["release"] for event in installation.events("model-wanted")}) == 1
    assert ends.dead(installation) == []


def _switch(installation: Installation, load: Load, version: str, *words: str) -> float:
    """Let an operator speak, and wait until that version answers; seconds from the word to the switch."""
    asked = len(installation.events("model-deployed"))
    installation.kuznia(*words)
    deployed = installation.wait("it is switched", lambda: installation.events("model-deployed")[asked:])
    before = load.answered_by(version)
    installation.wait(f"{version} answers", lambda: load.answered_by(version) > before)
    spoken = max(
        (event for name in ("rollback-requested", "deploy-requested") for event in installation.events(name)),
        key=lambda event: event.time,
    )
    return _seconds(spoken.time, deployed[-1].time)


def _seconds(before: datetime, after: datetime) -> float:
    return (after - before).total_seconds()


def _release(installation: Installation) -> dict[str, Any]:
    return installation.record(f"releases/{model_id()}").data


def _version(installation: Installation, version: str) -> dict[str, Any]:
    found: dict[str, Any] = _release(installation)["versions"][version]
    return found


def _up(installation: Installation) -> set[str]:
    up = {"pending", "running", "ready"}
    return {status.name for status in ends.workloads(installation) if status.phase in up}
