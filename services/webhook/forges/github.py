"""GitHub: `X-Hub-Signature-256`. Its older header without `-256` is SHA-1 and proves nothing any more."""

from __future__ import annotations

from typing import Any

import msgspec

from services.webhook.forges.forge import Change, Claim, Forge, Headers, Push, by_header, hex_proven, unproven

SIGNATURE = "x-hub-signature-256"


class _Repository(msgspec.Struct):
    full_name: str


class _Person(msgspec.Struct):
    name: str = ""
    login: str = ""


class Payload(msgspec.Struct):
    """The part of the push payload that is read; Gitea's and Forgejo's have the same."""

    ref: str
    before: str
    after: str
    repository: _Repository
    pusher: _Person = msgspec.field(default_factory=_Person)


def read(body: bytes) -> Push:
    """See `Forge.read`."""
    payload = msgspec.json.decode(body, type=Payload)
    change = Change(ref=payload.ref, before=payload.before, after=payload.after)
    pusher = payload.pusher.name or payload.pusher.login
    return Push(repository=payload.repository.full_name, pusher=pusher, changes=(change,))


def repository(parsed: Any) -> str:
    """See `Forge.repository`."""
    return str(parsed["repository"]["full_name"])


def _fault(claim: Claim) -> str:
    proven = hex_proven(claim, claim.headers[SIGNATURE], "sha256=")
    return "" if proven else unproven("X-Hub-Signature-256")


def _hint(headers: Headers) -> str:
    if "x-hub-signature" not in headers or SIGNATURE in headers:
        return ""
    return " (X-Hub-Signature is SHA-1, which proves nothing any more)"


FORGE = Forge(
    name="github",
    title="GitHub",
    needs=(("x-github-event",), ("x-github-delivery",), (SIGNATURE,)),
    pushes=frozenset({"push"}),
    pings=frozenset({"ping"}),
    kind=by_header("x-github-event"),
    delivery=by_header("x-github-delivery"),
    fault=_fault,
    repository=repository,
    read=read,
    hint=_hint,
)
