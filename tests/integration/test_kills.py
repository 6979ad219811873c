"""kill -9 of the platform at named moments; after the next `kuznia up` the push has its one end all the same."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from shared import places
from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import TENANT, Installation
from tests.integration.repository import Repository

pytestmark = pytest.mark.slow
# Points of `shared/hosts/driver.py`; each is one moment at which the platform kills itself.
POINTS = [
    "before-inspect:1",
    "after-inspect:1",
    "before-commit:1",
    "after-commit:1",
    "before-publish:2",
    "after-publish:2",
    "before-launch:1",
    "after-launch:1",
    "after-measure:1",
    "before-ack:6",
    "after-ack:6",
    "before-commit:12",
    "after-commit:12",
    "before-report:1",
    "after-report:1",
    "before-write:1",
    "after-write:1",
    "before-serve:1",
    "after-serve:1",
    "before-load:20",
]
STEPS = 60
Moment = Callable[[Installation, str], object]


@pytest.mark.parametrize(
    ("point", "survivors"), [(point, number % 2 == 0) for number, point in enumerate(POINTS)]
)
def test_killed_at_a_point(
    installation: Installation, repository: Repository, point: str, survivors: bool
) -> None:
    """survivors: the pods live on beside the killed platform; else all dies with it."""
    installation.up(KUZNIA_KILL_AT=point)
    run = repository.send()
    installation.wait_killed()
    if not survivors:
        installation.kill_all()
    installation.up()
    ends.check(installation, Sent(run=run))


def training(installation: Installation, run: str) -> object:
    """Two checkpoints are in the store, and the trainer goes on."""
    told = installation.events("checkpoint-written", f"runs/{run}")
    return any(20 <= event.data["step"] < STEPS for event in told)


def uploading(installation: Installation, run: str) -> object:
    """The final weights are on their way into the store."""
    final = installation.settings.artifacts / places.of_run(TENANT, run) / "final"
    phases = [event.data["phase"] for event in installation.events("training-progressed", f"runs/{run}")]
    began = "uploading" in phases and any((installation.settings.artifacts / ".unfinished").iterdir())
    return began and not (final / "manifest.json").exists()


def evaluating(installation: Installation, run: str) -> object:
    """The tuned model is being measured."""
    told = installation.events("workload-changed")
    tuned = [event.data["phase"] for event in told if event.data["name"] == f"eval-tuned-{run}"]
    return tuned == ["running"]


def deploying(installation: Installation, run: str) -> object:
    """The engine has been started, and is not ready."""
    told = [event for event in installation.events("workload-changed") if event.data["kind"] == "server"]
    return [event.data["phase"] for event in told] == ["running"]


def serving(installation: Installation, run: str) -> object:
    """It is done."""
    return installation.events("model-deployed")


@pytest.mark.parametrize("survivors", [True, False], ids=["pods live on", "all dies"])
@pytest.mark.parametrize("moment", [training, uploading, evaluating, deploying, serving])
def test_killed_in_the_middle(
    installation: Installation, repository: Repository, moment: Moment, survivors: bool
) -> None:
    installation.options |= {
        "STANDIN_STEP_SECONDS": "0.02",
        "STANDIN_WEIGHTS_MB": "30" if moment is uploading else "0",
        "STANDIN_LOAD_SECONDS": "0.5",
    }
    installation.up()
    run = repository.send(config={"max_steps": STEPS})
    installation.wait(f"the moment of {moment.__name__}", lambda: moment(installation, run))
    (installation.kill if survivors else installation.kill_all)()
    installation.up()
    ends.check(installation, Sent(run=run))
    log = (installation.settings.artifacts / places.of_run(TENANT, run) / "trainer_log.jsonl").read_text()
    steps = [json.loads(line)["current_steps"] for line in log.splitlines()]
    assert steps == list(range(1, STEPS + 1)), "the curve of the loss goes on where it was"
