"""What operators do to the log and its deliveries, beyond what services need: look behind, repeat, put away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from events.envelope import Event
from shared.ports.bus import DeadLetter
from shared.record import Record


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery still to be done. due: when it may be lent (again). lent: somebody is at it.

    attempts: how often it was begun. error: what was said last.
    """

    event: Event
    service: str
    attempts: int
    due: datetime
    lent: bool
    error: str = ""


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A record decided an event. position: in the order of all decisions. at: when."""

    position: int
    event: str
    key: str
    at: datetime


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator did, kept for ever. action: replay, redrive, discard, import, compact."""

    at: datetime
    who: str
    action: str
    reason: str
    detail: dict[str, Any]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one moment, each in its order; decisions in the order they were made."""

    events: Sequence[Event]
    decisions: Sequence[Decided]
    records: Sequence[Record]
    waiting: Sequence[Waiting]
    dead: Sequence[DeadLetter]
    notes: Sequence[Note]


class Operations(Protocol):
    """Beside `Bus` and `Store`, over the same data."""

    def find(self, prefix: str, limit: int = 20) -> Sequence[str]:
        """Ids of events that begin so, in order."""
        ...

    def waiting(self, limit: int = 1000) -> Sequence[Waiting]:
        """Deliveries still to be done, those that are due first."""
        ...

    def decisions(self, *, event: str = "", key: str = "") -> Sequence[Decided]:
        """Who decided this event; or what this record decided; in order."""
        ...

    def unparented(self, limit: int = 100) -> Sequence[tuple[str, str]]:
        """Event and cause, where the cause is not in the log."""
        ...

    def redeliver(self, event_id: str, service: str, after: float = 0) -> bool:
        """Deliver an event of the log (again), in so many seconds; a dead letter of it is none any more.

        False where it waits already, or the log has no such event.
        """
        ...

    def discard(self, event_id: str, service: str) -> bool:
        """Take a dead letter away. False where there is none."""
        ...

    def note(self, note: Note) -> None:
        """Keep it."""
        ...

    def notes(self, action: str = "") -> Sequence[Note]:
        """What was done, oldest first."""
        ...

    def forget(self, event_ids: Sequence[str]) -> None:
        """Drop events from the log, with who decided them. Only for compaction, which proves it harmless."""
        ...

    def snapshot(self) -> Snapshot:
        """Everything, as it was at one moment."""
        ...

    def take(self, snapshot: Snapshot) -> None:
        """Add what is not there yet of log, deliveries, dead letters and notes, all or nothing; not of records."""
        ...
