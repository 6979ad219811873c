"""Versions come and go under clients that never stop asking."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import openai
import pytest

from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.load import Load
from tests.integration.repository import Repository, model_id

pytestmark = pytest.mark.slow
SLOW_ANSWERS = {"STANDIN_ANSWER_SECONDS": "0.05"}


def test_replaced_rolled_back_withdrawn(installation: Installation, repository: Repository) -> None:
    """No request fails while 1.1.0 replaces 1.0.0, nor while an operator goes back to it."""
    first, second = f"models/{model_id()}@1.0.0", f"models/{model_id()}@1.1.0"
    installation.options |= SLOW_ANSWERS
    installation.up()
    one = repository.send()
    ends.check(installation, Sent(run=one))
    with Load(installation) as load:
        installation.wait("1.0.0 answers", lambda: load.answered_by("1.0.0"))
        two = repository.send(version="1.1.0")
        installation.wait("1.1.0 answers", lambda: load.answered_by("1.1.0"))
        installation.wait_status(first, "DEPRECATED")
        _wait_engines(installation, 1)
        installation.kuznia("rollback", model_id(), "--reason", "worse than before")
        before = load.answered_by("1.0.0")
        installation.wait("1.0.0 answers again", lambda: load.answered_by("1.0.0") > before)
        installation.wait_status(second, "DEPRECATED")
        _wait_engines(installation, 1)
    assert load.failures == []
    assert installation.wait_status(first, "DEPLOYED").data["run_id"] == one
    assert installation.record(second).data["run_id"] == two
    assert "worse than before" in installation.record(second).data["deprecation"]["reason"]

    installation.kuznia("deprecate", f"{model_id()}@1.0.0", "--reason", "says nonsense")
    installation.wait_status(first, "DEPRECATED")
    _wait_engines(installation, 0)
    with ends.client(installation) as client, pytest.raises(openai.APIStatusError) as gone:
        ends.ask(client)
    assert gone.value.status_code in {404, 503}
    assert ends.dead(installation) == []


def _wait_engines(installation: Installation, count: int) -> None:
    """The drained engine ends after its grace."""

    def settled() -> bool:
        phases = [status.phase for status in ends.workloads(installation) if status.kind == "server"]
        return sum(phase in {"pending", "running", "ready"} for phase in phases) == count

    installation.wait(f"{count} engine(s) are left", settled)


def test_three_versions_at_once(installation: Installation, repository: Repository) -> None:
    """Pushed one after another without a pause: the newest answers in the end, and no engine runs in vain."""
    installation.up()
    sent = [Sent(run=repository.send(version=f"1.{n}.0"), version=f"1.{n}.0") for n in range(3)]
    installation.wait_status(f"models/{sent[-1].key}", "DEPLOYED")
    ends.settle(installation)
    registered = installation.events("model-registered")
    newest = registered[-1].data["model"]["version"]
    assert installation.record(f"releases/{model_id()}").data["live"] == newest
    _wait_engines(installation, 1)
    for one in sent:
        status = installation.record(f"models/{one.key}").status
        assert status == ("DEPLOYED" if one.version == newest else "DEPRECATED")


def test_an_engine_that_is_killed_for_good(installation: Installation, repository: Repository) -> None:
    """The registry calls nothing deployed that does not answer; the next version does, and alone."""
    installation.up()
    ends.check(installation, Sent(run=repository.send()))

    def over() -> bool:
        for status in ends.workloads(installation):
            if status.kind == "server" and status.pid:
                with suppress(ProcessLookupError):
                    os.killpg(status.pid, signal.SIGKILL)
        return bool(installation.events("deployment-failed"))

    installation.wait("the cluster gives up", over)
    record = installation.wait_status(f"models/{model_id()}@1.0.0", "DEPRECATED")
    assert "its engine failed" in record.data["deprecation"]["reason"]
    second = Sent(run=repository.send(version="1.1.0"), version="1.1.0")
    ends.check(installation, second)
    assert installation.record(record.key).status == "DEPRECATED"


def test_the_same_version_of_other_content_is_refused(
    installation: Installation, repository: Repository
) -> None:
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    run = repository.send(config={"seed": 7})
    record = installation.wait_status(f"runs/{run}", "FAILED")
    assert "raise `version`" in record.data["cause"]
    ends.settle(installation)
    assert len(installation.events("model-registered")) == 1
    assert installation.record(f"models/{model_id()}@1.0.0").status == "DEPLOYED"
