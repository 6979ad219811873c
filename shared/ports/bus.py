"""The bus: events out, deliveries in, at least once, in order by subject within a service."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from events.envelope import Event


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One event for one service, lent for a while.

    lease: token that must still be valid at the ack. attempt: 1 for the first try.
    """

    event: Event
    service: str
    lease: str
    attempt: int


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event a service could not handle: why, after how many attempts, and when it was given up."""

    event: Event
    service: str
    cause: str
    attempts: int
    at: datetime


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which events of the log: all that is given must hold. after: position to go on from."""

    name: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: int = 0
    limit: int = 1000
    newest: bool = False


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """An event and its position in the log, which only grows."""

    position: int
    event: Event


class Bus(Protocol):
    """A durable bus with an append-only log."""

    def subscribe(self, service: str, names: Iterable[str]) -> None:
        """From now on this service gets events of these names; idempotent."""
        ...

    def publish(self, events: Sequence[Event]) -> None:
        """Durable when it returns; an event whose source and id are known already changes nothing.

        Raises Retry where the bus cannot take it now.
        """
        ...

    def lease(self, limit: int, wait: float) -> Sequence[Delivery]:
        """Up to `limit` deliveries that are due; waits up to `wait` seconds for the first."""
        ...

    def stop_leasing(self) -> None:
        """Let a waiting `lease` return empty-handed, now and from now on; the rest goes on working."""
        ...

    def ack(self, delivery: Delivery) -> bool:
        """Done. False where the lease had run out: somebody else may be at it again."""
        ...

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        """Deliver it again after so many seconds."""
        ...

    def bury(self, delivery: Delivery, cause: str) -> bool:
        """To the dead letters, with the cause."""
        ...

    def log(self, query: Query) -> Sequence[Logged]:
        """Events of the log, oldest first (newest first where the query says so)."""
        ...

    def event(self, event_id: str) -> Event | None:
        """One event of the log by its id."""
        ...

    def dead_letters(self, limit: int = 1000) -> Sequence[DeadLetter]:
        """What was buried and not yet redriven, oldest first."""
        ...

    def redrive(self, event_id: str, service: str) -> bool:
        """Deliver a dead letter again, with attempts counted from the start."""
        ...
