"""Spot machines are taken away: the real pod and the real trainer lose theirs twice, and the curve goes on.

Once by SIGTERM, as a cloud does it, and once by SIGKILL; each time nothing of the machine is left, and another
one goes on from what lies in the artifact store. An uninterrupted run of the same seed is the measure.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from shared.podkit import manifests
from tests.shared.podkit.world import CONFIG, PodWorld, alive, wait_for

pytestmark = [pytest.mark.trainer, pytest.mark.slow]

MODULE = "services.training.pod"
STEPS, SAVE = 140, 20
GRACE_SECONDS = 25  # between SIGTERM and SIGKILL, as the cluster has it
CURVE = {**CONFIG, "max_steps": STEPS, "save_steps": SAVE, "save_total_limit": 2, "lora_dropout": 0.1}
TOLERANCE = 0.002  # relative; the log rounds to four digits


class Machine:
    """One attempt of a run on a machine of its own: a work folder that nobody else has."""

    def __init__(self, world: PodWorld, run_id: str, attempt: int) -> None:
        self.world, self.prefix = world, f"tenants/team-x/runs/{run_id}"
        self.work = world.root / f"machine-{attempt}"
        document = world.training_document(CURVE, run_id=run_id, work_dir=str(self.work))
        self.pod = world.start(MODULE, document, attempt)

    def step(self) -> int:
        """The last step that it logged."""
        path = self.work / "output" / "trainer_log.jsonl"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return max(curve(text), default=0)

    def stored(self) -> list[int]:
        """Steps of the checkpoints in the store, each of which must be whole."""
        store = self.world.artifacts
        found = [path for path in store.list(f"{self.prefix}/checkpoints") if path.endswith("/manifest.json")]
        for path in found:
            prefix = path.removesuffix("/manifest.json")
            loaded = manifests.load(store, prefix)
            assert loaded is not None
            assert manifests.faults(store, prefix, loaded[0]) == [], (
                f"{prefix} has a manifest and is not whole"
            )
        return sorted(int(path.split("/step-")[1].split("/")[0]) for path in found)

    def lose(self, step: int, word: signal.Signals) -> int:
        """Take it away at that step, once the checkpoint before it is in the store; the newest that is left."""
        due = step // SAVE * SAVE

        def there() -> bool:
            return self.pod.poll() is not None or (self.step() >= step and due in self.stored())

        wait_for(f"step {step}", there)
        assert self.pod.poll() is None, f"it ended before step {step}: {self.world.log()}"
        self.pod.send_signal(word)
        try:
            self.pod.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.pod.kill()
            self.pod.wait()
        for child in self.world.children():
            wait_for("the trainer's end", lambda child=child: not alive(child), 20)
        shutil.rmtree(self.work)
        return max(self.stored())


def curve(text: str) -> dict[int, float]:
    """Step -> loss, of a trainer's log. Fails where a step is there twice."""
    found: dict[int, float] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # its end is still being written
        if "loss" in entry:
            assert entry["current_steps"] not in found, f"step {entry['current_steps']} is there twice"
            found[entry["current_steps"]] = entry["loss"]
    return found


def trained(world: PodWorld, run_id: str) -> dict[int, float]:
    return curve(world.artifacts.read(f"tenants/team-x/runs/{run_id}/trainer_log.jsonl").decode())


def said(world: PodWorld, run_id: str, name: str) -> list[dict[str, Any]]:
    return [e.data for e in world.on_the_bus() if e.name == name and e.data["run_id"] == run_id]


@pytest.mark.parametrize("seed", [20])
def test_the_curve_goes_on_elsewhere(tmp_path: Path, cache: Path, warm_home: Path, seed: int) -> None:
    world = PodWorld(tmp_path, cache, warm_home)
    rand = Random(seed)
    run, whole = f"r-spot-{seed}", f"r-whole-{seed}"
    try:
        warned = rand.randrange(SAVE, 3 * SAVE)
        first = Machine(world, run, 1).lose(warned, signal.SIGTERM)
        assert first >= warned, "a machine that was warned loses no step"

        struck = rand.randrange(first + SAVE, first + 2 * SAVE)
        second = Machine(world, run, 2).lose(struck, signal.SIGKILL)
        assert struck - second < SAVE, "at most one save interval is lost"

        assert Machine(world, run, 3).pod.wait(180) == 0, world.log()
        assert Machine(world, whole, 1).pod.wait(180) == 0, world.log()
    finally:
        world.close()

    ends = [(end["attempt"], end["outcome"]) for end in said(world, run, "training-finished")]
    assert ends == [(1, "preempted"), (3, "succeeded")], "SIGKILL leaves no time for a word"
    (finished,) = [end for end in said(world, run, "training-finished") if end["attempt"] == 3]
    assert finished["runtime"]["resumed_from"] == str(second)
    interrupted, uninterrupted = trained(world, run), trained(world, whole)
    assert list(interrupted) == list(range(1, STEPS + 1)), "the steps go on, and none begins anew"
    assert interrupted == pytest.approx(uninterrupted, rel=TOLERANCE), "it learned what it would have learned"
    assert uninterrupted[second + 1] < (1 - 5 * TOLERANCE) * uninterrupted[1], "a new start would be seen"
    steps = [word["step"] for word in said(world, run, "checkpoint-written") if not word["final"]]
    assert {first, second} <= set(steps)
    assert len(steps) == len(set(steps)), "no checkpoint is told of twice"
