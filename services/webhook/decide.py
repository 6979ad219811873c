"""What follows from a push: look what changed between the head we knew and the new one. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from events.catalog import decode, encode
from events.envelope import Event
from events.push_received import PushReceived
from shared.record import Record
from shared.service import Decision, Wish

NO_COMMIT = "0" * 40
KEPT_PUSHES = 50


def key(event: Event) -> str | None:
    """One record a branch, so that pushes to it are looked at one after another."""
    return event.subject if event.name == "push-received" else None


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """Remember the push; ask for an inspection, unless the branch is gone.

    What is new is new against the head that we knew, whatever the push says came before: a push whose delivery
    never came would be lost by the next one.
    """
    push: PushReceived = decode(event)
    data: dict[str, Any] = {
        "repository": push.repository,
        "url": push.url,
        "branch": push.branch,
        "head": push.after,
        "pushes": [*record.data.get("pushes", []), _remembered(push, now)][-KEPT_PUSHES:],
    }
    since = msgspec.structs.replace(push, before=record.data.get("head", NO_COMMIT))
    wishes = () if push.after == NO_COMMIT else (Wish("inspect", encode(since)),)
    return Decision(status="WATCHED", data=data, wishes=wishes)


def _remembered(push: PushReceived, now: datetime) -> dict[str, str]:
    return {
        "delivery": push.delivery,
        "before": push.before,
        "after": push.after,
        "pusher": push.pusher,
        "at": now.isoformat(),
    }
