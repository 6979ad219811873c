"""Waiting for a dependency that said Retry, for a bounded time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from shared.errors import Retry

Result = TypeVar("Result")


class Patience(msgspec.Struct, frozen=True):
    """Waits of `first`, twice that, and so on up to `longest` seconds; `tries` calls in all."""

    tries: int = 7
    first: float = 0.5
    longest: float = 15
    sleep: Callable[[float], None] = time.sleep

    def insist(self, what: str, call: Callable[[], Result]) -> Result:
        """The call's result. Raises Retry with what was said last, once patience is at its end."""
        wait = self.first
        for _ in range(self.tries - 1):
            try:
                return call()
            except Retry as error:
                pause = min(error.after or wait, self.longest)
                sys.stdout.write(f"{what}: {error}; again in {pause:.1f} s\n")
                self.sleep(pause)
                wait = min(wait * 2, self.longest)
        return call()
