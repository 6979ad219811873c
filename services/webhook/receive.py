"""The front door: a forge's push, verified over its raw bytes, made durable, and only then answered."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from events.catalog import encode
from events.envelope import Event
from events.push_received import PushReceived
from shared.errors import Retry
from shared.identity import event_id
from shared.ports.bus import Bus
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.secrets import webhook_secret
from shared.settings import Settings

SOURCE = "/kuznia/webhook/github"
BRANCH = "refs/heads/"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """status: HTTP. body: JSON. retry_after: seconds, where trying again will help."""

    status: int
    body: dict[str, Any]
    retry_after: int = 0


class _Repository(msgspec.Struct):
    full_name: str


class _Person(msgspec.Struct):
    name: str = ""


class _Push(msgspec.Struct):
    """The part of GitHub's push payload that is read."""

    ref: str
    before: str
    after: str
    repository: _Repository
    pusher: _Person = msgspec.field(default_factory=_Person)


class Receiver:
    """Decides over one delivery. headers: with lower-case names."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, settings: Settings) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._settings = settings

    def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """202 accepted (and durable) · 200 nothing to do · 400 401 404 409 413 what is wrong · 503 try again."""
        refusal = self._refused(headers, body)
        if refusal is not None:
            return refusal
        if headers["x-github-event"] == "ping":
            return _answer(200, "pong")
        try:
            push = msgspec.json.decode(body, type=_Push)
            return self._accept(push, headers["x-github-delivery"])
        except msgspec.DecodeError as error:
            return _answer(400, f"the body is no push payload of GitHub's: {error}")
        except Retry as error:
            return _answer(503, f"the push could not be kept: {error}", retry_after=5)

    def _refused(self, headers: Mapping[str, str], body: bytes) -> Answer | None:
        if len(body) > self._settings.max_body_bytes:
            return _answer(
                413, f"the body has {len(body)} bytes; the limit is {self._settings.max_body_bytes}"
            )
        missing = [
            name
            for name in ("x-github-event", "x-github-delivery", "x-hub-signature-256")
            if name not in headers
        ]
        if missing:
            return _answer(400, f"missing header(s): {', '.join(missing)}")
        if headers["x-github-event"] not in ("push", "ping"):
            return _answer(200, f"{headers['x-github-event']} events are not acted upon")
        name = _repository_name(body)
        secret = webhook_secret(self._settings.home, name) if name else b""
        if not secret:
            return _answer(404, f"no repository is connected as {name!r}: `kuznia hook install` connects one")
        if not verified(secret, body, headers["x-hub-signature-256"]):
            return _answer(
                401, "X-Hub-Signature-256 does not fit the body: check that both sides have the same secret"
            )
        return None

    def _accept(self, push: _Push, delivery: str) -> Answer:
        if not push.ref.startswith(BRANCH):
            return _answer(200, f"{push.ref} is no branch; tags start nothing")
        repository = self._store.load(f"repositories/{push.repository.full_name}")
        branch = push.ref.removeprefix(BRANCH)
        if branch not in repository.data.get("branches", []):
            return _answer(200, f"branch {branch} is not watched")
        event = push_event(
            PushReceived(
                repository=push.repository.full_name,
                url=repository.data["url"],
                branch=branch,
                before=push.before,
                after=push.after,
                delivery=delivery,
                pusher=push.pusher.name,
            ),
            self._clock,
        )
        return self._keep(event)

    def _keep(self, event: Event) -> Answer:
        known = self._bus.event(event.id)
        if known is not None and known.data != event.data:
            return _answer(409, f"delivery {event.data['delivery']} was already used for another push")
        if known is None:
            self._bus.publish([event])
        body = {"accepted": event.id, "duplicate": known is not None, "subject": event.subject}
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


def verified(secret: bytes, body: bytes, signature: str) -> bool:
    """Whether `sha256=<hex>` is the HMAC of the raw body; in constant time."""
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def _traceparent(delivery: str) -> str:
    """A W3C trace context, made of the delivery so that a replay is traced alike."""
    digest = hashlib.sha256(delivery.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def _repository_name(body: bytes) -> str:
    """Whose secret to verify with; nothing else of an unverified body is used."""
    try:
        return str(msgspec.json.decode(body)["repository"]["full_name"])
    except (msgspec.DecodeError, LookupError, TypeError):
        return ""


def _answer(status: int, what: str, retry_after: int = 0) -> Answer:
    name = "error" if status >= 400 else "ignored"
    return Answer(status=status, body={name: what}, retry_after=retry_after)
