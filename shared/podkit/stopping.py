"""SIGTERM, as something a pod can look at and act on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType

PREEMPTED = 75  # EX_TEMPFAIL: start me again


class Preempted(Exception):
    """The pod was asked to stop before its work was done."""


class Stopping:
    """Listens for SIGTERM from its making on. grace_seconds: how long after it the pod may still work."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace = grace_seconds
        self._asked_at: float | None = None
        self._forward: Callable[[], None] | None = None
        signal.signal(signal.SIGTERM, self._hear)

    @property
    def asked(self) -> bool:
        """Whether it is to stop."""
        return self._asked_at is not None

    @property
    def overdue(self) -> bool:
        """Whether the grace has run out."""
        return self._asked_at is not None and time.monotonic() > self._asked_at + self._grace

    def check(self) -> None:
        """Raises Preempted where it is to stop; called between steps that are not worth finishing."""
        if self.asked:
            raise Preempted

    def forward(self, to: Callable[[], None]) -> None:
        """Tell `to` at once, in the handler, or now where the signal has come already."""
        self._forward = to
        if self.asked:
            to()

    def _hear(self, _signal: int, _frame: FrameType | None) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            if self._forward:
                self._forward()
