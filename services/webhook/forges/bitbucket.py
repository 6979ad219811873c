"""Bitbucket, Cloud and Server (Data Center): one push may move several references.

Its `X-Hub-Signature` has the name of GitHub's SHA-1 header, and is SHA-256.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from services.webhook.forges.forge import (
    NO_COMMIT,
    Change,
    Claim,
    Forge,
    Headers,
    Push,
    by_header,
    hex_proven,
    unproven,
)

SIGNATURE = "x-hub-signature"
REFS = {"branch": "refs/heads/", "named_branch": "refs/heads/", "tag": "refs/tags/"}


class _Target(msgspec.Struct):
    hash: str


class _Reference(msgspec.Struct):
    type: str
    name: str
    target: _Target


class _CloudChange(msgspec.Struct):
    new: _Reference | None = None
    old: _Reference | None = None


class _CloudChanges(msgspec.Struct):
    changes: tuple[_CloudChange, ...]


class _CloudRepository(msgspec.Struct):
    full_name: str


class _Actor(msgspec.Struct):
    display_name: str = ""
    displayName: str = ""  # noqa: N815 - Server's own spelling


class _Cloud(msgspec.Struct):
    push: _CloudChanges
    repository: _CloudRepository
    actor: _Actor = msgspec.field(default_factory=_Actor)


class _ServerReference(msgspec.Struct):
    id: str


class _ServerChange(msgspec.Struct, rename="camel"):
    ref: _ServerReference
    from_hash: str
    to_hash: str
    type: Literal["ADD", "UPDATE", "DELETE"]


class _ServerProject(msgspec.Struct):
    key: str


class _ServerRepository(msgspec.Struct):
    slug: str
    project: _ServerProject


class _Server(msgspec.Struct):
    changes: tuple[_ServerChange, ...]
    repository: _ServerRepository
    actor: _Actor = msgspec.field(default_factory=_Actor)


def _read(body: bytes) -> Push:
    parsed = msgspec.json.decode(body)
    if isinstance(parsed, dict) and "push" in parsed:
        return _read_cloud(msgspec.convert(parsed, _Cloud))
    return _read_server(msgspec.convert(parsed, _Server))


def _read_cloud(payload: _Cloud) -> Push:
    changes = tuple(change for raw in payload.push.changes if (change := _cloud_change(raw)))
    return Push(repository=payload.repository.full_name, pusher=payload.actor.display_name, changes=changes)


def _cloud_change(raw: _CloudChange) -> Change | None:
    """`old` is null where a reference begins, `new` where it ends."""
    reference = raw.new or raw.old
    if reference is None:
        return None
    return Change(
        ref=REFS.get(reference.type, f"{reference.type}/") + reference.name,
        before=raw.old.target.hash if raw.old else NO_COMMIT,
        after=raw.new.target.hash if raw.new else NO_COMMIT,
    )


def _read_server(payload: _Server) -> Push:
    changes = tuple(
        Change(ref=raw.ref.id, before=raw.from_hash, after=raw.to_hash) for raw in payload.changes
    )
    name = f"{payload.repository.project.key}/{payload.repository.slug}"
    return Push(repository=name, pusher=payload.actor.displayName, changes=changes)


def _repository(parsed: Any) -> str:
    repository = parsed["repository"]
    if "full_name" in repository:
        return str(repository["full_name"])
    return f"{repository['project']['key']}/{repository['slug']}"


def _fault(claim: Claim) -> str:
    return "" if hex_proven(claim, claim.headers[SIGNATURE], "sha256=") else unproven("X-Hub-Signature")


def _hint(headers: Headers) -> str:
    return "" if SIGNATURE in headers else " (set a secret on the webhook, and Bitbucket signs what it sends)"


FORGE = Forge(
    name="bitbucket",
    title="Bitbucket",
    needs=(("x-event-key",), ("x-request-uuid", "x-request-id"), (SIGNATURE,)),
    pushes=frozenset({"repo:push", "repo:refs_changed"}),
    pings=frozenset({"diagnostics:ping"}),
    kind=by_header("x-event-key"),
    delivery=by_header("x-request-uuid", "x-request-id"),
    fault=_fault,
    repository=_repository,
    read=_read,
    hint=_hint,
)
