"""From the registry's records to a snapshot; a record that does not read is left out, and said why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from services.gateway.ports import Placement, Route, Snapshot, Token
from shared.lifecycle import approved
from shared.ports.store import Store
from shared.record import Record

PAGE = 1000


class _Approval(msgspec.Struct, frozen=True):
    manifest_digest: str
    card_digest: str


class _Plan(msgspec.Struct, frozen=True):
    cold_start_seconds: float = 60


class _Version(msgspec.Struct, frozen=True):
    state: str
    address: str = ""
    release: str = ""
    manifest_digest: str = ""
    card_digest: str = ""
    engine_model: str = ""
    shared: str = ""
    validated_digest: str = ""
    approval_needed: bool = False
    approvals: tuple[_Approval, ...] = ()
    since: str = ""
    took: float = 0
    plan: _Plan = _Plan()


class _Split(msgspec.Struct, frozen=True):
    mark: str = ""
    window: float = 0


class _Release(msgspec.Struct, frozen=True):
    model_id: str
    tenant: str
    live: str = ""
    versions: dict[str, _Version] = {}
    weights: dict[str, float] = {}
    split: _Split = _Split()


class _TokenData(msgspec.Struct, frozen=True):
    hash: str
    tenant: str
    models: tuple[str, ...] = ("*",)
    expires_at: datetime | None = None
    revoked: bool = False


def read_snapshot(store: Store) -> tuple[Snapshot, dict[str, str]]:
    """All of `releases` and `tokens`; and by key, what is wrong with those left out. Raises Retry."""
    routes, tokens, faults = [], [], {}
    for record in _records(store, "releases"):
        try:
            routes.append(_route(record))
        except msgspec.ValidationError as error:
            faults[record.key] = str(error)
    for record in _records(store, "tokens"):
        try:
            tokens.append(_token(record))
        except msgspec.ValidationError as error:
            faults[record.key] = str(error)
    return snapshot_of(routes, tokens), faults


def snapshot_of(routes: Iterable[Route], tokens: Iterable[Token]) -> Snapshot:
    """A snapshot with its indices."""
    by_id = {route.model_id: route for route in routes}
    families: dict[str, list[tuple[int, Route]]] = {}
    for route in by_id.values():
        family, dot, major = route.model_id.rpartition(".v")
        if dot and major.isascii() and major.isdigit() and len(major) < 10:
            families.setdefault(family, []).append((int(major), route))
    ordered = {family: tuple(_highest_first(members)) for family, members in families.items()}
    return Snapshot(by_id, ordered, {token.hash: token for token in tokens})


def _highest_first(members: list[tuple[int, Route]]) -> Iterator[Route]:
    return (route for _, route in sorted(members, key=lambda member: member[0], reverse=True))


def _records(store: Store, kind: str) -> Iterator[Record]:
    after = ""
    while True:
        page = store.list(kind, after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].key


def _route(record: Record) -> Route:
    release = msgspec.convert(record.data, _Release)
    created = 0 if record.created_at is None else int(record.created_at.timestamp())
    versions = {name: _placement(version) for name, version in release.versions.items()}
    fields = _fields(release) | _fields(release.split) | {"versions": versions}
    return Route(created=created, **{name: fields[name] for name in fields.keys() - {"split"}})


def _placement(version: _Version) -> Placement:
    fields = _fields(version)
    known = {name: fields[name] for name in Placement.__struct_fields__ if name in fields}
    return Placement(cleared=_cleared(version), patience=version.plan.cold_start_seconds, **known)


def _cleared(version: _Version) -> bool:
    """The gates of a release, for one that is asked for by its version and has not gone through the store's."""
    validated = version.manifest_digest and version.validated_digest == version.manifest_digest
    if not validated or not version.card_digest:
        return False
    return not version.approval_needed or approved(msgspec.to_builtins(version))


def _token(record: Record) -> Token:
    data = msgspec.convert(record.data, _TokenData)
    fields = _fields(data) | {"revoked": data.revoked or record.status == "REVOKED"}
    return Token(id=record.name, **fields)


def _fields(struct: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(struct)
