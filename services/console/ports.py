"""What the console reads: the ports it is given, and the part of the bus it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from events.envelope import Event
from shared.ports.artifacts import Artifacts
from shared.ports.bus import DeadLetter, Logged, Query
from shared.ports.cluster import Cluster
from shared.ports.store import Store
from shared.settings import Settings


class EventLog(Protocol):
    """The reading half of a bus."""

    def log(self, query: Query) -> Sequence[Logged]:
        """Events of the log, oldest first (newest first where the query says so)."""
        ...

    def event(self, event_id: str) -> Event | None:
        """One event by its id, or None."""
        ...

    def dead_letters(self, limit: int = 1000) -> Sequence[DeadLetter]:
        """What was buried and not yet redriven, oldest first."""
        ...


class ConsolePorts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the console may ask; it writes to none of them. metrics: Prometheus text of what is wrong."""

    store: Store
    bus: EventLog
    artifacts: Artifacts
    cluster: Cluster
    settings: Settings
    metrics: Callable[[], str] | None = None
