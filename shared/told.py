"""SIGTERM and SIGINT, as something to wait for."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType


class Told:
    """Listens from its making on, in the main thread; whoever waits is that thread too."""

    def __init__(self) -> None:
        # A handler may run amid any line of `wait`. An Event's lock, held there, would be waited for here for ever;
        # a SimpleQueue is made to be put to from handlers.
        self._words: SimpleQueue[int] = SimpleQueue()
        self._stopped = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear)

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is to stop; at once where it is told so already, else within so many seconds (None: any)."""
        if not self._stopped:
            with suppress(Empty):
                self._words.get(timeout=seconds)
                self._stopped = True
        return self._stopped

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._words.put(number)
