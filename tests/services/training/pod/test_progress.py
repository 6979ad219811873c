"""Progress: the trainer's log into lines and events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.training.pod.progress import Line, Progress, readable, seconds
from services.training.pod.run import Document, Run
from shared.forge.environment import Trainer
from shared.podkit.stopping import Stopping
from shared.podkit.voice import Voice
from tests.shared.podkit.world import CONFIG, PodWorld


@pytest.fixture
def run(world: PodWorld) -> Run:
    told = world.training_document(CONFIG, work_dir=str(world.root / "work"))
    made = Run(
        document=msgspec.convert(told, Document),
        attempt=2,
        ports=world.ports,
        voice=Voice(ports=world.ports, source="/kuznia/training", cause="c"),
        stopping=Stopping(1),
        trainer=Trainer(home=Path(), python=Path(), cli=Path(), stubs=None, versions={}),
        base=None,
    )
    made.output.mkdir(parents=True)
    return made


def log(run: Run, *lines: Any) -> None:
    with (run.output / "trainer_log.jsonl").open("a", encoding="utf-8") as file:
        for line in lines:
            file.write(line if isinstance(line, str) else json.dumps(line) + "\n")


def step(number: int, total: int = 400, **more: Any) -> dict[str, Any]:
    return {
        "current_steps": number,
        "total_steps": total,
        "loss": 1 / number,
        "lr": 0.1,
        "epoch": 0.5,
        **more,
    }


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_at_most_one_a_second(run: Run, world: PodWorld) -> None:
    clock = Clock()
    progress = Progress(run, clock)
    for number in range(1, 201):
        clock.now += 0.1
        log(run, step(number))
        progress.follow()
    said = [event.data["step"] for event in world.said("training-progressed")]
    assert 18 <= len(said) <= 20
    assert said[0] == 1
    assert said == sorted(said)


def test_at_most_about_a_hundred_a_run(run: Run, world: PodWorld) -> None:
    clock = Clock()
    progress = Progress(run, clock)
    for number in range(1, 1001):
        clock.now += 60
        log(run, step(number, 1000))
        progress.follow()
    assert len(world.said("training-progressed")) in {100, 101}


def test_the_last_step_is_said_whatever_the_time(run: Run, world: PodWorld) -> None:
    clock = Clock()
    progress = Progress(run, clock)
    log(run, step(1))
    progress.follow()
    log(run, step(400, elapsed_time="0:01:00", remaining_time="0:00:00"))
    log(run, {"current_steps": 400, "total_steps": 400, "epoch": 1.0})
    progress.follow(closing=True)
    progress.follow(closing=True)
    first, last = world.said("training-progressed")
    assert (first.data["step"], last.data["step"]) == (1, 400)
    assert last.data["loss"] == 1 / 400, "the line without a loss hides the one before it not"
    assert first.id != last.id


def test_evaluation_lines_and_nonsense_are_no_steps(run: Run, world: PodWorld) -> None:
    progress = Progress(run, Clock())
    log(run, "{ cut short\n", "[]\n", step(3), {"current_steps": 3, "total_steps": 400, "eval_loss": 0.5})
    progress.follow(closing=True)
    (event,) = world.said("training-progressed")
    assert (event.data["step"], event.data["loss"]) == (3, pytest.approx(1 / 3))


def test_what_an_earlier_start_logged_is_not_said_again(run: Run, world: PodWorld) -> None:
    log(run, step(1), step(2))
    progress = Progress(run, Clock())
    progress.follow(closing=True)
    assert world.events == []


def test_a_repeat_of_the_same_attempt_is_the_same_event(run: Run, world: PodWorld) -> None:
    log(run)
    first, second = Progress(run, Clock()), Progress(run, Clock())
    log(run, step(7))
    first.follow()
    second.follow()
    assert len({event.id for event in world.events}) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:00:40", 40),
        ("1:02:03", 3723),
        ("1 day, 2:03:04", 93784),
        ("12 days, 0:00:01", 1036801),
        ("", None),
    ],
)
def test_times(text: str, expected: float | None) -> None:
    assert seconds(text) == expected


def test_a_line_for_people() -> None:
    line = Line(current_steps=12, total_steps=48, loss=1.23456, lr=2e-3, epoch=2.0, remaining_time="0:00:40")
    assert readable(line) == "step 12/48 25 %  loss 1.2346  lr 2.0e-03  epoch 2.00  ETA 0:00:40"
    assert readable(Line(current_steps=3)) == "step 3/0"
