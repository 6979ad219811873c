"""Store and bus are away while the trainer works: it goes on, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.training.pod import main, training
from shared.errors import Retry
from shared.local.clock import SystemClock
from shared.podkit.patience import Patience
from shared.podkit.voice import Voice


class Trainer:
    """Ends after so many beats."""

    pid = 0

    def __init__(self, beats: int) -> None:
        self._codes = iter([None] * beats + [0])
        self.killed = 0

    def wait(self, _seconds: float) -> int | None:
        return next(self._codes)

    def kill(self) -> None:
        self.killed += 1


class Away:
    """Progress and uploads over something that is away for so many calls."""

    def __init__(self, calls: int) -> None:
        self._left = calls
        self.done: list[str] = []

    def _do(self, what: str) -> None:
        self._left -= 1
        if self._left >= 0:
            raise Retry(f"{what}: away")
        self.done.append(what)

    def follow(self, *, closing: bool = False) -> None:
        self._do("told")

    def catch_up(self) -> None:
        self._do("uploaded")

    def close(self) -> None:
        self.done.append("closed")


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(training, "Patience", lambda tries=3: Patience(tries=tries, sleep=lambda _: None))


@pytest.mark.parametrize(("outcome", "code"), [("preempted", 75), ("failed", 1)])
def test_the_code_tells_how_it_ended_though_nobody_hears_the_word(
    outcome: Any, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Else a pod that was told to stop while the bus is away would count as one that failed."""
    monkeypatch.setattr(main, "Patience", lambda tries: Patience(tries=tries, sleep=lambda _: None))

    def gone(_events: Any) -> None:
        raise Retry("the bus is away")

    ports: Any = SimpleNamespace(publish=gone, clock=SystemClock())
    voice = Voice(ports=ports, source="/kuznia/training", cause="e-1", patience=Patience(tries=1))
    document: Any = SimpleNamespace(run_id="r-1", job="train-r-1")
    assert main._end(voice, document, 1, outcome, "why") == code
    assert capsys.readouterr().out.endswith(f"not said: the bus is away\n{outcome}: why\n")


def run(tmp_path: Path, *, asked: bool = False) -> Any:
    return SimpleNamespace(log=tmp_path / "log", stopping=SimpleNamespace(overdue=False, asked=asked))


def watch(told: Any, trainer: Trainer, progress: Away, uploads: Away) -> tuple[int, int]:
    return training._watch(told, trainer, progress, uploads)  # type: ignore[arg-type]


@pytest.mark.parametrize(("progress", "uploads"), [(3, 0), (0, 3), (99, 0)])
def test_a_training_outlives_what_is_away_for_a_while(tmp_path: Path, progress: int, uploads: int):
    trainer, said, kept = Trainer(4), Away(progress), Away(uploads)
    assert watch(run(tmp_path), trainer, said, kept)[0] == 0
    assert trainer.killed == 0
    assert kept.done[-2:] == ["uploaded", "closed"]
    assert bool(said.done) == (progress < 99), "progress that is never heard is no loss"


def test_at_its_end_what_is_not_uploaded_is_told(tmp_path: Path):
    with pytest.raises(Retry, match="uploaded: away"):
        watch(run(tmp_path), Trainer(1), Away(0), Away(99))


def test_told_to_stop_it_has_no_time_to_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """It is preempted, and no failure: it goes on from the checkpoint before."""
    assert watch(run(tmp_path, asked=True), Trainer(1), Away(0), Away(99))[0] == 0
    assert "not uploaded: uploaded: away" in capsys.readouterr().out
