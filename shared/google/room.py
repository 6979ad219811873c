"""Where messages wait to be worth a look: by lane, as a message says no more than that its lane has work.

What is to be done next in a lane, the ledger knows. So a message that came early is not in the way of the one
before it, and one that came twice finds nothing to do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

HELD_SECONDS = 60.0  # a message that waits longer goes back to Pub/Sub, which sends it again
Lane = tuple[str, str]  # service, lane


class Wait(msgspec.Struct, frozen=True):
    """The lane has work, and not yet: its first delivery is lent, or put off."""

    seconds: float


class Message(Protocol):
    """As Pub/Sub's client hands it out; it keeps the message's lease alive until one of these is called."""

    def ack(self) -> None: ...
    def nack(self) -> None: ...


class _Waiting:
    """The messages of a lane. look_at: monotonic moment from which a look is worth it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.look_at = 0.0


class Room:
    """All methods may be called by any thread."""

    def __init__(self) -> None:
        self._news = threading.Condition()
        self._lanes: dict[Lane, _Waiting] = {}
        self._busy: set[Lane] = set()
        self._missed: set[Lane] = set()  # news of a lane while somebody looked at it
        self._open = True
        self._waits = True

    def put(self, lane: Lane, message: Message, after: float = 0) -> None:
        """A message, worth a look in so many seconds; one that is too early goes back to Pub/Sub."""
        with self._news:
            keep = self._open and after <= HELD_SECONDS
            if keep:
                waiting = self._lanes.setdefault(lane, _Waiting())
                waiting.messages.append(message)
                waiting.look_at = time.monotonic() + after
                self._tell(lane)
        if not keep:
            message.nack()

    def expect(self, lane: Lane, after: float = 0) -> None:
        """Work that is known of without a message, in so many seconds; what is further away, others remind of."""
        with self._news:
            if self._open and after <= HELD_SECONDS:
                self._lanes.setdefault(lane, _Waiting()).look_at = time.monotonic() + after
                self._tell(lane)

    def take(self) -> Lane | None:
        """A lane worth a look, which is then nobody else's until `done`."""
        now = time.monotonic()
        with self._news:
            for lane, waiting in self._lanes.items():
                if waiting.look_at <= now and lane not in self._busy:
                    self._busy.add(lane)
                    return lane
        return None

    def reserve(self, lane: Lane) -> bool:
        """Take a lane of one's own knowledge, message or not; False where somebody is at it."""
        with self._news:
            if lane in self._busy:
                return False
            self._busy.add(lane)
            return True

    def done(self, lane: Lane, *, after: float = 0) -> None:
        """Looked at; worth another look in so many seconds."""
        with self._news:
            self._busy.discard(lane)
            if lane in self._missed:
                self._missed.discard(lane)
                after = 0
            waiting = self._lanes.get(lane)
            too_long = waiting is not None and after > HELD_SECONDS
            back = self._lanes.pop(lane).messages if too_long else []
            if waiting is not None:
                waiting.look_at = time.monotonic() + after
            self._news.notify_all()
        for message in back:
            message.nack()

    def pop(self, lane: Lane) -> Message | None:
        """One message of a lane, to be acknowledged with the delivery it led to."""
        with self._news:
            waiting = self._lanes.get(lane)
            if waiting is None:
                return None
            message = waiting.messages.pop(0) if waiting.messages else None
            if not waiting.messages:
                del self._lanes[lane]
            return message

    def messages(self, lane: Lane) -> Sequence[Message]:
        """Those that are there now."""
        with self._news:
            waiting = self._lanes.get(lane)
            return tuple(waiting.messages) if waiting else ()

    def drop(self, lane: Lane, messages: Sequence[Message]) -> None:
        """Acknowledge messages that were there when the ledger said that the lane has no work."""
        with self._news:
            waiting = self._lanes.get(lane)
            if waiting is not None:
                waiting.messages = [message for message in waiting.messages if message not in messages]
                if not waiting.messages:
                    del self._lanes[lane]
        for message in messages:
            message.ack()

    def wake(self, lane: Lane) -> None:
        """It is worth a look now."""
        with self._news:
            waiting = self._lanes.get(lane)
            if waiting is not None:
                waiting.look_at = 0.0
            self._tell(lane)

    def wait(self, seconds: float) -> None:
        """Until a lane is worth a look, or so many seconds."""
        with self._news:
            now = time.monotonic()
            moments = [w.look_at for lane, w in self._lanes.items() if lane not in self._busy]
            due = min([seconds, *(moment - now for moment in moments)])
            if self._waits and due > 0:
                self._news.wait(due)

    def release(self) -> None:
        """Wake who waits; from now on nobody does, not even who was about to."""
        with self._news:
            self._waits = False
            self._news.notify_all()

    def _tell(self, lane: Lane) -> None:
        if lane in self._busy:
            self._missed.add(lane)
        self._news.notify_all()

    def close(self) -> None:
        """Give back what waits, and take no more."""
        with self._news:
            self._open = self._waits = False
            back = [message for waiting in self._lanes.values() for message in waiting.messages]
            self._lanes.clear()
            self._news.notify_all()
        for message in back:
            message.nack()
