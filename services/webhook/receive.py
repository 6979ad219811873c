"""The front door: a forge's push, verified over its raw bytes, made durable, and only then answered."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from events.catalog import encode
from events.envelope import Event
from events.push_received import PushReceived
from services.webhook.forges import FORGES
from services.webhook.forges.forge import Change, Claim, Forge, Push
from shared.errors import Retry
from shared.identity import event_id
from shared.ports.bus import Bus
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.secrets import webhook_secrets
from shared.settings import Settings

SOURCE = "/kuznia/webhook/github"
DEFAULT_FORGE = "github"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """status: HTTP. body: JSON. retry_after: seconds, where trying again will help."""

    status: int
    body: dict[str, Any]
    retry_after: int = 0


class Receiver:
    """Decides over one delivery. headers: with lower-case names. forge: by whose way it came."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._settings = settings

    def receive(self, headers: Mapping[str, str], body: bytes, forge: str = DEFAULT_FORGE) -> Answer:
        """202 accepted (and durable) · 200 nothing to do · 400 401 404 409 413 what is wrong · 503 try again."""
        known = FORGES.get(forge)
        if known is None:
            return _answer(404, f"no forge is called {forge[:40]!r}; there are {', '.join(FORGES)}")
        refusal = self._refused(known, headers, body)
        if refusal is not None:
            return refusal
        if known.kind(headers) in known.pings:
            return _answer(200, "pong")
        try:
            return self._accept(known, known.read(body), known.delivery(headers))
        except msgspec.DecodeError as error:
            return _answer(400, f"the body is no push payload of {known.title}'s: {error}")
        except Retry as error:
            return _answer(503, f"the push could not be kept: {error}", retry_after=5)

    def _refused(self, forge: Forge, headers: Mapping[str, str], body: bytes) -> Answer | None:
        if len(body) > self._settings.max_body_bytes:
            return _answer(
                413, f"the body has {len(body)} bytes; the limit is {self._settings.max_body_bytes}"
            )
        missing = [" or ".join(names) for names in forge.needs if not any(name in headers for name in names)]
        if missing:
            return _answer(400, f"missing header(s): {', '.join(missing)}{forge.hint(headers)}")
        kind, name = forge.kind(headers), _named(forge, body)
        if kind not in forge.pushes | forge.pings:
            return _answer(200, f"{kind[:100]} events are not acted upon")
        if kind in forge.pings and not name:
            return _answer(200, "pong")  # a test of the connection alone, which names nothing to prove it by
        if not name:
            return _answer(
                400, f"the body is no push payload of {forge.title}'s: set its webhook to application/json"
            )
        return self._unproven(forge, name, headers, body)

    def _unproven(self, forge: Forge, name: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        now = self._clock.now()
        secrets = webhook_secrets(self._settings.home, name, now)
        if not secrets:
            return _answer(404, f"no repository is connected as {name!r}: `kuznia hook install` connects one")
        fault = forge.fault(Claim(secrets=secrets, headers=headers, body=body, now=now))
        return _answer(401, fault) if fault else None

    def _accept(self, forge: Forge, push: Push, delivery: str) -> Answer:
        repository = self._store.load(f"repositories/{push.repository}")
        connected = repository.data.get("forge", DEFAULT_FORGE)
        if connected != forge.name:
            return _answer(
                404,
                f"{push.repository} is connected as a repository of {connected}:"
                f" its deliveries go to {FORGES[connected].path}",
            )
        watched = repository.data.get("branches", [])
        moved = [change for change in push.changes if change.branch in watched and change.branch]
        if not moved:
            return _answer(200, _why_not(push.changes))
        said = [
            PushReceived(
                repository=push.repository,
                url=repository.data["url"],
                branch=change.branch,
                before=change.before,
                after=change.after,
                delivery=f"{delivery}/{change.branch}" if len(push.changes) > 1 else delivery,
                forge=forge.name,
                pusher=push.pusher,
            )
            for change in moved
        ]
        return self._keep([push_event(one, self._clock, f"/kuznia/webhook/{forge.name}") for one in said])

    def _keep(self, events: list[Event]) -> Answer:
        known = {event.id: self._bus.event(event.id) for event in events}
        for event in events:
            before = known[event.id]
            if before is not None and before.data != event.data:
                return _answer(409, f"delivery {event.data['delivery']} was already used for another push")
        new = [event for event in events if known[event.id] is None]
        if new:
            self._bus.publish(new)
        body = {"accepted": events[0].id, "duplicate": not new, "subject": events[0].subject}
        if len(events) > 1:
            body["all"] = [{"accepted": event.id, "subject": event.subject} for event in events]
        return Answer(status=202, body=body)


def push_event(push: PushReceived, clock: Clock, source: str = SOURCE) -> Event:
    """The event of a push; its id follows from the delivery, so that a replayed delivery is the same event."""
    return Event(
        id=event_id(f"{source}/{push.repository}/{push.delivery}", "push-received"),
        name="push-received",
        source=source,
        subject=f"branches/{push.repository}/{push.branch}",
        time=clock.now(),
        data=encode(push),
        traceparent=_traceparent(push.delivery),
    )


def _why_not(changes: tuple[Change, ...]) -> str:
    if not changes:
        return "no branch has moved"
    told = [
        f"branch {change.branch} is not watched"
        if change.branch
        else f"{change.ref} is no branch; tags start nothing"
        for change in changes
    ]
    return "; ".join(told[:10])


def _traceparent(delivery: str) -> str:
    """A W3C trace context, made of the delivery so that a replay is traced alike."""
    digest = hashlib.sha256(delivery.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def _named(forge: Forge, body: bytes) -> str:
    """Whose secret to verify with; nothing else of an unverified body is used."""
    try:
        return forge.repository(msgspec.json.decode(body))
    except (msgspec.DecodeError, LookupError, TypeError, RecursionError):
        return ""


def _answer(status: int, what: str, retry_after: int = 0) -> Answer:
    name = "error" if status >= 400 else "ignored"
    return Answer(status=status, body={name: what}, retry_after=retry_after)
