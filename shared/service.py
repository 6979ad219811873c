"""The shape of every event service: what it hears, what record it keeps, how it decides, what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from events.envelope import Event
from shared.ports.artifacts import Artifacts
from shared.ports.clock import Clock
from shared.ports.cluster import Cluster
from shared.ports.store import Store
from shared.record import Do, Record
from shared.settings import Settings


class Speech(msgspec.Struct, frozen=True):
    """A payload to be said, and about which record; the reaction makes the event of it."""

    payload: Any
    subject: str


class Wish(msgspec.Struct, frozen=True):
    """An effect that is asked for. delay: seconds before it is due."""

    effect: str
    arguments: dict[str, Any] = {}
    delay: float = 0


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from an event: the record's next status and data, what is said, what is asked for."""

    status: str
    data: dict[str, Any]
    says: tuple[Speech, ...] = ()
    wishes: tuple[Wish, ...] = ()


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What effects may use."""

    store: Store
    artifacts: Artifacts
    cluster: Cluster
    clock: Clock
    settings: Settings


Effect = Callable[[Do, Record], Sequence[Speech]]
Decide = Callable[[Record, Event, datetime], Decision | None]


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One event service.

    name: its folder. hears / says: short names of events. owns: the kind of record that only it writes.
    key: the record an event is for; None where the event is none of its business.
    decide: pure; None means that nothing follows. It may raise Retry (a precondition has not come yet) or
    Reject (the event is wrong). effects: builds, from ports, what the outbox may ask for, each idempotent.
    """

    name: str
    hears: tuple[str, ...]
    says: tuple[str, ...]
    owns: str
    key: Callable[[Event], str | None]
    decide: Decide
    effects: Callable[[Ports], Mapping[str, Effect]]

    @property
    def source(self) -> str:
        """CloudEvents `source` of what it says."""
        return f"/kuznia/{self.name}"
