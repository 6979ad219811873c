"""What is due by what the ledger says, whether a message came or not: at the start, every half minute, in between
when something will be due; and at once for who asks without waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from shared.google.documents import Ahead, lane_of
from shared.google.ledger import Ledger
from shared.google.room import Lane, Room
from shared.ports.bus import Delivery

LOOK_SECONDS = 30.0
SHORTEST = 1.0
OVERDUE = timedelta(seconds=60)
PAGE = 64
Claim = Callable[[Lane], Delivery | None]


class Lookout:
    """claim: lends the first delivery of a lane that the room keeps for its caller."""

    def __init__(self, ledger: Ledger, room: Room, claim: Claim, look_seconds: float) -> None:
        self._ledger = ledger
        self._room = room
        self._claim = claim
        self._seconds = look_seconds
        self._next = float("-inf")
        self._turn = 0
        self.unheard = 0  # lanes of the last look whose work was long overdue, and no message had told of it

    def until(self) -> float:
        """Seconds until the next look is due."""
        return self._next - time.monotonic()

    def within(self, seconds: float) -> None:
        """Look in so many seconds at the latest: what is lent now is due again then, and perhaps without a message."""
        self._next = min(self._next, time.monotonic() + seconds)

    def look(self, services: Sequence[str], limit: int) -> list[Delivery]:
        """Lend what is due. Raises Retry."""
        self._next = time.monotonic() + self._seconds
        self.unheard = 0
        self._turn += 1
        start = self._turn % max(1, len(services))  # each service comes first in its turn
        lent: list[Delivery] = []
        for service in (*services[start:], *services[:start]):
            lent += self._look_for(service, limit - len(lent)) if len(lent) < limit else []
        return lent

    def _look_for(self, service: str, limit: int) -> list[Delivery]:
        lent: list[Delivery] = []
        seen: set[Lane] = set()
        size = PAGE
        while True:
            due = self._ledger.due(service, datetime.now(UTC), size)
            for ahead in due:
                lane = (service, lane_of(ahead.event))
                if lane not in seen and len(lent) < limit and self._room.reserve(lane):
                    lent += self._lend(lane, ahead)
                seen.add(lane)
            if len(lent) >= limit:
                return lent
            if len(due) < size:
                self._plan(service)
                return lent
            size *= 2  # lanes whose first is lent stand in the way of those behind them

    def _lend(self, lane: Lane, ahead: Ahead) -> list[Delivery]:
        heard = bool(self._room.messages(lane))
        delivery = self._claim(lane)
        if delivery is None:
            return []
        self.unheard += not heard and not ahead.lent and ahead.due < datetime.now(UTC) - OVERDUE
        return [delivery]

    def _plan(self, service: str) -> None:
        """Look again when the next delivery is due: put off here or elsewhere, or lent to one who may have died."""
        now = datetime.now(UTC)
        due = self._ledger.next_due(service, now)
        if due is not None:
            pause = min(self._seconds, max(SHORTEST, (due - now).total_seconds()))
            self._next = min(self._next, time.monotonic() + pause)
