"""Messages that may be lost are published once more: for services that are pushed to, which cannot look themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from events.envelope import Event
from shared.google.documents import lane_of
from shared.google.ledger import Ledger
from shared.google.room import Lane

PAGE = 64  # lanes of a service that are rung for at once
Publish = Callable[[Sequence[Event]], None]


class Bells:
    """One message a lane is enough: whoever hears it works the lane off. publish: carries, without logging."""

    def __init__(self, ledger: Ledger, publish: Publish) -> None:
        self._ledger = ledger
        self._publish = publish
        self._rung: dict[Lane, float] = {}

    def ring(self, services: Iterable[str], overdue_seconds: float) -> int:
        """For every lane with work that has been due for so long, and no oftener than that; how many."""
        now = time.monotonic()
        self._rung = {lane: when for lane, when in self._rung.items() if now - when < overdue_seconds}
        before = datetime.now(UTC) - timedelta(seconds=overdue_seconds)
        wanted = {
            (service, lane): event
            for service in services
            for lane, event in self._overdue(service, before).items()
        }
        self._publish(list(wanted.values()))
        self._rung |= dict.fromkeys(wanted, now)
        return len(wanted)

    def _overdue(self, service: str, before: datetime) -> dict[str, Event]:
        """Lane -> its event that waits longest. Those behind it are due as well, and must not hide other lanes."""
        size = PAGE
        while True:
            due = self._ledger.due(service, before, size)
            lanes: dict[str, Event] = {}
            for ahead in due:
                lanes.setdefault(lane_of(ahead.event), ahead.event)
            fresh = {lane: event for lane, event in lanes.items() if (service, lane) not in self._rung}
            if len(due) < size or len(fresh) >= PAGE:
                return fresh
            size *= 2
