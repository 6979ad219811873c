"""SIGTERM and SIGINT, as something to wait for."""

from __future__ import annotations

import select
import signal
import socket
import time
from types import FrameType, TracebackType
from typing import Self

STOPS = (signal.SIGTERM, signal.SIGINT)


class Told:
    """Listens from its making to its closing; made in the main thread.

    A thread that waits for a lock is not woken where the signal came to another thread, or a moment before it began
    to wait. So a byte is written, by the interpreter in whatever thread it is, and waited for.
    """

    def __init__(self) -> None:
        self._hears, self._says = socket.socketpair()
        self._says.setblocking(False)
        self._stopped = False
        for number in STOPS:
            signal.signal(number, _note)
        signal.set_wakeup_fd(self._says.fileno(), warn_on_full_buffer=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """What is said from now on is not heard; it ends nothing either."""
        signal.set_wakeup_fd(-1)
        self._says.close()
        self._hears.close()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is to stop; at once where it is told so already, else within so many seconds (None: any)."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._stopped:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._hears], [], [], left)[0]:
                break
            self._stopped = any(number in STOPS for number in self._hears.recv(64))
        return self._stopped


def _note(_number: int, _frame: FrameType | None) -> None:
    """The byte says it all; without a handler there would be none."""
