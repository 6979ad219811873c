"""The trainer's log as lines for people and events for the platform, not too many of either."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from events.training_progressed import TrainingProgressed
from services.training.pod.resume import LOG
from services.training.pod.run import Run
from shared.podkit.tail import Tail

EVENTS_A_RUN = 100
SECONDS_BETWEEN = 1.0


class Line(msgspec.Struct):
    """A line of `trainer_log.jsonl`, as LLaMA-Factory's LogCallback writes it. Times: `[D days, ]H:MM:SS`."""

    current_steps: int
    total_steps: int = 0
    loss: float | None = None
    eval_loss: float | None = None
    lr: float | None = None
    epoch: float | None = None
    elapsed_time: str = ""
    remaining_time: str = ""


def seconds(text: str) -> float | None:
    """`1 day, 2:03:04` -> 93784.0; None for anything else."""
    days, _, clock = text.rpartition(", ")
    try:
        hours, minutes, rest = (int(part) for part in clock.split(":"))
        return (int(days.split()[0]) if days else 0) * 86400.0 + hours * 3600 + minutes * 60 + rest
    except (ValueError, IndexError):
        return None


def readable(line: Line) -> str:
    """`step 12/48 25 %  loss 1.2345  lr 2.0e-03  epoch 2.00  ETA 0:00:40`."""
    share = f" {100 * line.current_steps // line.total_steps} %" if line.total_steps else ""
    parts = [f"step {line.current_steps}/{line.total_steps}{share}"]
    parts += [
        f"{name} {value:{form}}"
        for name, value, form in (
            ("loss", line.loss, ".4f"),
            ("eval loss", line.eval_loss, ".4f"),
            ("lr", line.lr, ".1e"),
            ("epoch", line.epoch, ".2f"),
        )
        if value is not None
    ]
    return "  ".join([*parts, *([f"ETA {line.remaining_time}"] if line.remaining_time else [])])


def payload(run_id: str, attempt: int, line: Line) -> TrainingProgressed:
    """The event of a line."""
    return TrainingProgressed(
        run_id=run_id,
        attempt=attempt,
        phase="training",
        step=line.current_steps,
        total_steps=line.total_steps,
        loss=line.loss,
        learning_rate=line.lr,
        epoch=line.epoch,
        elapsed_seconds=seconds(line.elapsed_time),
        eta_seconds=seconds(line.remaining_time),
    )


class Progress:
    """Follows the log from where it stands now."""

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self._tail = Tail(run.output / LOG, from_end=True)
        self._said_step = -1
        self._said_at = float("-inf")
        self.last: Line | None = None

    def phase(self, phase: str) -> None:
        """Say what the pod begins to do."""
        run = self._run
        step, total = (self.last.current_steps, self.last.total_steps) if self.last else (0, 0)
        said: dict[str, Any] = {"run_id": run.document.run_id, "attempt": run.attempt, "phase": phase}
        self._say(TrainingProgressed(**said, step=step, total_steps=total), phase)

    def follow(self, *, closing: bool = False) -> None:
        """Print what is new, and say the newest if it is time; at the close in any case."""
        for text in self._tail.lines():
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.DecodeError:
                continue
            if self.last is None or line.current_steps >= self.last.current_steps:
                self.last = line if line.loss is not None or self.last is None else self._merged(line)
            if self._run.leads:
                sys.stdout.write(readable(line) + "\n")
        if self.last and self._due(self.last, closing=closing):
            self._said_step, self._said_at = self.last.current_steps, self._clock()
            self._say(
                payload(self._run.document.run_id, self._run.attempt, self.last), str(self.last.current_steps)
            )

    def _merged(self, line: Line) -> Line:
        """The last line of a run has no loss: keep the one before it."""
        assert self.last
        return msgspec.structs.replace(line, loss=self.last.loss, lr=self.last.lr)

    def _due(self, line: Line, *, closing: bool) -> bool:
        if line.current_steps <= self._said_step:
            return False
        if closing or self._said_step < 0:
            return True
        stride = max(1, line.total_steps // EVENTS_A_RUN)
        soon = self._clock() - self._said_at < SECONDS_BETWEEN
        return not soon and line.current_steps - self._said_step >= stride

    def _say(self, said: TrainingProgressed, discriminator: str) -> None:
        if self._run.leads:
            self._run.voice.say(
                said, subject=self._run.subject, discriminator=f"{self._run.attempt}/{discriminator}"
            )
