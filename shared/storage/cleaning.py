"""Unfinished uploads of killed processes, removed from the artifact store once a day, whichever store it is."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Protocol

from shared.errors import KuzniaError
from shared.ports.clock import Clock

EVERY = timedelta(days=1)
log = logging.getLogger("kuznia.storage")


class Sweepable(Protocol):
    """A store that keeps what is not whole aside."""

    def sweep(self, now: float) -> int:
        """Remove what is older than a day; how many. now: Unix seconds."""
        ...


class Cleaner:
    """Asked often, it cleans at once and then once a day."""

    def __init__(self, artifacts: Sweepable, clock: Clock) -> None:
        self._artifacts = artifacts
        self._clock = clock
        self._due = clock.now()

    def clean(self) -> int:
        """How many were removed; a store that does not let us is asked again the next day."""
        now = self._clock.now()
        if now < self._due:
            return 0
        self._due = now + EVERY
        try:
            found = self._artifacts.sweep(now.timestamp())
        except (KuzniaError, OSError) as error:
            log.warning("unfinished uploads could not be removed: %s", error)
            return 0
        if found:
            log.info("removed %d unfinished upload(s) of killed processes", found)
        return found
