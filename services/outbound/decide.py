"""What follows from any event: those who asked for it are to be told. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from events.envelope import Event
from shared.record import Record
from shared.service import Decision, Wish

OF_A_MODEL = frozenset({"models", "releases", "evaluations", "cards"})


class Broadcast(msgspec.Struct, frozen=True, kw_only=True):
    """What decides who is told. tenant: whose it is, empty where the event does not say; run: ask there then."""

    event: str
    name: str
    subject: str
    time: datetime
    tenant: str = ""
    run: str = ""


def key(event: Event) -> str | None:
    """A record an event: what is told of one never waits for another."""
    return f"broadcasts/{event.id}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """Tell those who are there now; who asks for it later does not get what was before."""
    if record.revision:
        return None
    broadcast = Broadcast(
        event=event.id,
        name=event.name,
        subject=event.subject,
        time=event.time,
        tenant=tenant_of(event),
        run=str(event.data.get("run_id", "")),
    )
    data: dict[str, Any] = {"name": event.name, "subject": event.subject}
    return Decision(status="HEARD", data=data, wishes=(Wish("tell", msgspec.to_builtins(broadcast)),))


def tenant_of(event: Event) -> str:
    """Whose model or run it is about, as far as the event itself says."""
    model = event.data.get("model")
    if isinstance(model, dict):
        return str(model.get("tenant", ""))
    identifier = event.data.get("model_id")
    if identifier is None:
        kind, _, name = event.subject.partition("/")
        identifier = name if kind in OF_A_MODEL else ""
    return str(identifier).split(".", 1)[0]
