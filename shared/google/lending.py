"""Lending the next delivery of a lane: what a message, a push or a look at the ledger leads to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from shared.google.documents import Ahead, lane_of
from shared.google.ledger import Ledger
from shared.google.room import Lane, Message, Wait
from shared.ports.bus import Delivery

ELSEWHERE_SECONDS = 2.0  # how often to ask again for what another worker has
SOON = 0.05  # where somebody else was faster by a moment


class _Hand(msgspec.Struct):
    """A delivery lent here. lease: as it was handed out; current: as it is since it was last extended.

    turn: held by who extends or settles it: the lease that one of them compares, the other one changes.
    """

    lease: str
    current: Delivery
    message: Message | None
    turn: threading.Lock


class Lending:
    """All methods may be called by any thread."""

    def __init__(self, ledger: Ledger, lease_seconds: float) -> None:
        self._ledger = ledger
        self._lease = timedelta(seconds=lease_seconds)
        self._lock = threading.Lock()
        self._hands: dict[Lane, _Hand] = {}

    @property
    def lease_seconds(self) -> float:
        """For how long a delivery is lent."""
        return self._lease.total_seconds()

    def claim(self, lane: Lane) -> Delivery | Wait | None:
        """Lend the first delivery of a lane; None where there is nothing to be done. Raises Retry."""
        ahead = self._ledger.ahead(*lane)
        if ahead is None:
            return None
        now = datetime.now(UTC)
        if ahead.due > now:
            return Wait(self._pause(lane, ahead, now))
        delivery = self._ledger.lend(ahead, now + self._lease)
        if delivery is None:
            return Wait(SOON)
        with self._lock:
            self._hands[lane] = _Hand(delivery.lease, delivery, None, threading.Lock())
        return delivery

    def attach(self, delivery: Delivery, message: Message | None) -> None:
        """The message that is to be acknowledged with this delivery."""
        with self._lock:
            self._hands[lane(delivery)].message = message

    def extend(self, delivery: Delivery) -> bool:
        """Lend it for another while. False where the lease counts no more."""
        hand = self._hand(delivery)
        if hand is None:
            return False
        with hand.turn:
            fresh = self._ledger.extend(hand.current, datetime.now(UTC) + self._lease)
            hand.current = fresh or hand.current
        return fresh is not None

    @contextmanager
    def current(self, delivery: Delivery) -> Iterator[Delivery]:
        """The delivery under the lease that counts now, and goes on counting while this is open."""
        hand = self._hand(delivery)
        if hand is None:
            yield delivery
            return
        with hand.turn:
            yield hand.current

    def let_go(self, delivery: Delivery) -> Message | None:
        """It is settled, or lost: its message."""
        with self._lock:
            hand = self._hands.get(lane(delivery))
            if hand is None or hand.lease != delivery.lease:
                return None
            return self._hands.pop(lane(delivery)).message

    def _hand(self, delivery: Delivery) -> _Hand | None:
        with self._lock:
            hand = self._hands.get(lane(delivery))
            return hand if hand is not None and hand.lease == delivery.lease else None

    def _pause(self, lane: Lane, ahead: Ahead, now: datetime) -> float:
        left = (ahead.due - now).total_seconds()
        with self._lock:
            ours = lane in self._hands
        return min(left, ELSEWHERE_SECONDS) if ahead.lent and not ours else left


def lane(delivery: Delivery) -> Lane:
    """Service and lane of a delivery."""
    return delivery.service, lane_of(delivery.event)
