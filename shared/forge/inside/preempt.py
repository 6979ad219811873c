"""SIGTERM becomes a saved checkpoint: LLaMA-Factory by itself would just die."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import torch
from transformers import TrainerCallback


class Preempt(TrainerCallback):  # type: ignore[misc] # transformers is not in the control plane's environment
    """Saves at the end of the step under way, then leaves with `code`.

    Before the first step there is nothing to save, so it leaves at once; after the last one the work is
    done but for the final files, so it goes on to the end.
    """

    def __init__(self, code: int) -> None:
        self._code = code
        self._asked = False
        self._phase = "loading"
        signal.signal(signal.SIGTERM, self._hear)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """From here on a stop waits for the end of a step."""
        self._phase = "training"

    def on_step_end(self, _args: Any, state: Any, control: Any, **__: Any) -> None:
        """Ask the trainer to save, unless this was the last step."""
        if self._agreed() and state.global_step < state.max_steps:
            self._phase = "saving"
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, *_: Any, **__: Any) -> None:
        """The checkpoint is whole: leave before the trainer writes final weights that are not final."""
        if self._phase == "saving":
            raise SystemExit(self._code)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Too late to stop."""
        self._phase = "finishing"

    def _hear(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True
        if self._phase == "loading":
            raise SystemExit(self._code)

    def _agreed(self) -> bool:
        """All processes of a distributed run must stop at the same step, or those that go on wait for ever."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self._asked
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        votes = torch.tensor(int(self._asked), device=device)
        torch.distributed.all_reduce(votes)
        return bool(votes.item())
