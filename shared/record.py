"""A record and what it still owes: the one shape in which every service keeps its state.

State, inbox and outbox lie in one record, because only then can one compare-and-set write all three.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Why a record stopped: the event or effect that could not be done, and what was said last.

    also: what was given up after it, oldest first; these have no `also` of their own.
    """

    event: str
    cause: str
    at: datetime
    also: tuple[Dead, ...] = ()


def mark(deaths: Sequence[Dead]) -> Dead | None:
    """The mark that a record bears for all of these: that of the first, with the others."""
    if not deaths:
        return None
    first, *others = (msgspec.structs.replace(death, also=()) for death in deaths)
    return msgspec.structs.replace(first, also=tuple(others))


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
    def deaths(self) -> tuple[Dead, ...]:
        """All that was given up, oldest first."""
        return (self.dead, *self.dead.also) if self.dead else ()

    @property
    def unheard(self) -> tuple[str, ...]:
        """Ids of the events that it died of and that are still to be decided (by a redrive)."""
        return tuple(death.event for death in self.deaths if death.event not in self.inbox)

    def died_before(self, event_id: str) -> bool:
        """Whether an event that it died of is still to be decided, and was given up before this one."""
        return bool(self.unheard) and self.unheard[0] != event_id

    def still_dead(self, event_id: str) -> Dead | None:
        """Its mark once this event is heard: of the others that are not heard yet."""
        return mark([d for d in self.deaths if d.event not in (event_id, *self.inbox)])
