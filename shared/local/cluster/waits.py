"""Waiting without polling: for the ends of processes, for a word from another thread, for a time."""

from __future__ import annotations

import os
import selectors
import threading


class Waits:
    """`wait` is called by one thread, `wake` by any."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._closing = threading.Lock()
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def wake(self) -> None:
        """Let `wait` return. After `close` it does nothing."""
        with self._closing:
            if self._woken >= 0:
                os.eventfd_write(self._woken, 1)

    def watch(self, descriptor: int) -> None:
        """Let `wait` return once this can be read; a pidfd can when its process has ended."""
        self._selector.register(descriptor, selectors.EVENT_READ)

    def unwatch(self, descriptor: int) -> None:
        """The opposite; before the descriptor is closed."""
        self._selector.unregister(descriptor)

    def wait(self, seconds: float | None) -> None:
        """Until something happens, or so long; None: however long it takes."""
        ready = self._selector.select(seconds)
        if any(key.fd == self._woken for key, _ in ready):
            os.eventfd_read(self._woken)

    def close(self) -> None:
        """Release what the kernel lent."""
        with self._closing:
            self._selector.close()
            os.close(self._woken)
            self._woken = -1
