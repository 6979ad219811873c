"""A record and what it still owes: the one shape in which every service keeps its state.

State, inbox and outbox lie in one record, because only then can one compare-and-set write all three.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from events.envelope import Event


class Say(msgspec.Struct, frozen=True, tag="say"):
    """An intent to publish an event. Its id is the event's."""

    event: Event

    @property
    def id(self) -> str:
        """Deterministic, so a second publish is the same publish."""
        return self.event.id


class Do(msgspec.Struct, frozen=True, tag="do", kw_only=True):
    """An intent to perform the effect called `effect` with `arguments`; it came from the event `cause`.

    not_before: it is not due until then (an old engine is stopped only after it was drained).
    """

    id: str
    effect: str
    arguments: dict[str, Any]
    cause: str
    traceparent: str = ""
    not_before: datetime | None = None


Intent = Say | Do


class Dead(msgspec.Struct, frozen=True, kw_only=True):
    """Why a record stopped: the event or effect that could not be done, and what was said last."""

    event: str
    cause: str
    at: datetime


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """key: `<kind>/<name>`. revision: 0 for a record that does not exist yet; each commit adds one.

    status: a word of the kind's lifecycle (`shared.lifecycle`). data: the service's own state, JSON types.
    inbox: ids of the events already decided. outbox: what was asked for and is not yet confirmed.
    """

    key: str
    revision: int = 0
    status: str = ""
    data: dict[str, Any] = {}
    inbox: tuple[str, ...] = ()
    outbox: tuple[Intent, ...] = ()
    dead: Dead | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def kind(self) -> str:
        """`runs`, `models`, `evaluations`, …"""
        return self.key.split("/", 1)[0]

    @property
    def name(self) -> str:
        """The key without its kind."""
        return self.key.split("/", 1)[1]

    @property
    def unheard(self) -> str:
        """Id of the event that it died of and that is still to be decided (by a redrive), or empty."""
        return self.dead.event if self.dead and self.dead.event not in self.inbox else ""
