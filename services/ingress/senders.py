"""Who may post events: a sender has a token, names of events it may post, and sources it may speak for."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from events.catalog import definitions
from shared.ports.store import Store
from shared.record import Record

PREFIX = "kze_"
# The word of a forge, proven; of our own cluster; and what we say to our engines.
NEVER = frozenset({"push-received", "workload-changed", "adapter-wanted", "adapter-dropped", "engine-idle"})
OURS = "/kuznia"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def faults(name: str, events: Sequence[str], sources: Sequence[str]) -> list[str]:
    """All that is wrong with a sender, a line each."""
    found = []
    if not _NAME.fullmatch(name):
        found.append(f"{name!r} is no name: at most 40 lower-case letters, digits and inner hyphens")
    if not events:
        found.append("name the events it may post")
    open_to_others = [event for event in definitions() if event not in NEVER]
    unknown = [event for event in events if event not in open_to_others]
    if unknown:
        found.append(
            f"{', '.join(unknown)}: no events that others may post; those are {', '.join(open_to_others)}"
        )
    if not sources:
        found.append("name the sources it may speak for, such as //ci.example/pipelines")
    taken = [source for source in sources if not source.strip("/") or _under(source, OURS)]
    if taken:
        found.append(f"{', '.join(repr(source) for source in taken)}: {OURS} is our own, and all is too much")
    return found


def new_token(name: str) -> tuple[str, str]:
    """A fresh token of a sender, to be shown once, and the hash by which it is known again."""
    token = f"{PREFIX}{name}_{secrets.token_urlsafe(32)}"
    return token, token_hash(token)


def token_hash(token: str) -> str:
    """SHA-256, hex: enough for 256 bits of chance, where a password would need a slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def admitted(store: Store, authorization: str, now: datetime) -> Record | str:
    """The sender of an `Authorization` header, or what is wrong with it."""
    scheme, _, token = authorization.strip().partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        return "send `Authorization: Bearer <token>`; `kuznia senders add` makes one"
    name = token.removeprefix(PREFIX).partition("_")[0]
    sender = store.load(f"senders/{name}") if _NAME.fullmatch(name) else Record(key="senders/-")
    hashes = [sender.data.get("hash", ""), _old_hash(sender.data, now)]  # none of a sender of Google
    presented = token_hash(token)
    known = [hmac.compare_digest(presented, known) for known in hashes]
    if sender.status != "ACTIVE" or not any(known):
        return "the token is not known, or was revoked; `kuznia senders add` makes one"
    return sender


def granted(sender: Record, name: str, source: str) -> list[str]:
    """What the sender may not, a line each: this event, this source."""
    found = []
    if name not in sender.data["events"] or name in NEVER:
        found.append(f"{sender.name} may not post {name}; it may post {', '.join(sender.data['events'])}")
    if not any(_under(source, top) for top in sender.data["sources"]):
        found.append(
            f"{sender.name} may not speak for source {source!r}; it may for {', '.join(sender.data['sources'])}"
        )
    return found


def _under(source: str, top: str) -> bool:
    bare = top.rstrip("/")
    return source == bare or source.startswith(f"{bare}/")


def _old_hash(data: Mapping[str, Any], now: datetime) -> str:
    """Of the token before, where that still holds."""
    old = data.get("old")
    return str(old["hash"]) if old and now < datetime.fromisoformat(old["until"]) else ""
