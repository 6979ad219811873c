"""The registry's model versions and their releases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.console.errors import ApiError, not_found
from services.console.ports import ConsolePorts
from services.console.reading.paging import Scan, page_of, told
from services.console.schemas.models import (
    Card,
    ModelDetail,
    ModelEntry,
    ModelPage,
    ModelQuery,
    ModelVersionDetail,
    Placement,
    Release,
    ReleasePage,
    ReleaseQuery,
)
from shared.ports.store import Store
from shared.record import Record

MAX_VERSIONS = 10_000
_DAWN = datetime.min.replace(tzinfo=UTC)


def list_models(ports: ConsolePorts, query: ModelQuery) -> ModelPage:
    """One page of versions. Raises Retry."""
    scan = Scan(
        kind="models",
        status=query.status or "",
        prefix=query.name or (f"{query.tenant}." if query.tenant else ""),
        after=query.after,
        limit=query.limit,
        keep=lambda record: not query.tenant or record.data.get("tenant") == query.tenant,
    )
    page = page_of(ports.store, scan)
    return ModelPage(items=_entries(ports.store, page.records), next=page.next)


def get_model(ports: ConsolePorts, model_id: str) -> tuple[ModelDetail, str]:
    """A model with all its versions, and its ETag. Raises ApiError (404), Retry."""
    page = page_of(ports.store, Scan(kind="models", prefix=f"{model_id}@", limit=MAX_VERSIONS))
    if not page.records:
        raise no_model(model_id)
    release = _release(ports.store, model_id)
    newest = sorted(page.records, key=lambda record: record.created_at or _DAWN, reverse=True)
    entries = [told(ModelEntry, record, live=_is_live(record, release)) for record in newest]
    detail = ModelDetail(
        model_id=model_id,
        tenant=entries[0].tenant,
        live=release.data.get("live") or None,
        previous=release.data.get("previous") or None,
        versions=entries,
    )
    revisions = ".".join(str(record.revision) for record in page.records)
    return detail, f"{revisions}-{release.revision}"


def get_version(ports: ConsolePorts, model_id: str, version: str) -> tuple[ModelVersionDetail, str]:
    """One version, and its ETag. Raises ApiError (404), Retry."""
    record = version_record(ports.store, model_id, version)
    release = _release(ports.store, model_id)
    placed = release.data.get("versions", {}).get(version)
    detail = told(
        ModelVersionDetail,
        record,
        live=_is_live(record, release),
        card=_card(record.data),
        release=_placement(placed, release.data, version) if placed else None,
    )
    return detail, f"{record.revision}-{release.revision}"


def version_record(store: Store, model_id: str, version: str) -> Record:
    """The record of a version. Raises ApiError (404), Retry."""
    record = store.load(f"models/{model_id}@{version}")
    if record.revision == 0:
        raise not_found(
            f"no version {version} of {model_id} is registered",
            where=record.key,
            mend=f"GET /api/v1/models/{model_id} lists those that are",
        )
    return record


def list_releases(ports: ConsolePorts, query: ReleaseQuery) -> ReleasePage:
    """One page of releases. Raises Retry."""
    scan = Scan(
        kind="releases",
        after=query.after,
        limit=query.limit,
        keep=lambda record: not query.tenant or record.data.get("tenant") == query.tenant,
    )
    page = page_of(ports.store, scan)
    items = [_told_release(record) for record in page.records]
    return ReleasePage(items=items, next=page.next)


def get_release(ports: ConsolePorts, model_id: str) -> tuple[Release, str]:
    """What answers under a model's name, and its ETag. Raises ApiError (404), Retry."""
    record = _release(ports.store, model_id)
    if record.revision == 0:
        raise not_found(
            f"no version of {model_id} has been released",
            where=record.key,
            mend="GET /api/v1/releases lists those that are",
        )
    return _told_release(record), str(record.revision)


def no_model(model_id: str) -> ApiError:
    """404 for a model nobody has registered."""
    return not_found(
        f"no model is called {model_id}",
        where=f"models/{model_id}",
        mend="GET /api/v1/models lists all; an id reads <tenant>.<name>.v<major>",
    )


def _entries(store: Store, records: list[Record]) -> list[ModelEntry]:
    ids = {str(record.data.get("model_id")) for record in records}
    releases = {model_id: _release(store, model_id) for model_id in ids}
    return [
        told(ModelEntry, record, live=_is_live(record, releases[str(record.data.get("model_id"))]))
        for record in records
    ]


def _release(store: Store, model_id: str) -> Record:
    return store.load(f"releases/{model_id}")


def _is_live(record: Record, release: Record) -> bool:
    return bool(release.data.get("live")) and release.data["live"] == record.data.get("version")


def _told_release(record: Record) -> Release:
    empty = {name: record.data.get(name) or "" for name in ("live", "previous")}
    rollout = record.data.get("rollout") or None
    return told(Release, record, model_id=record.name, rollout=rollout, **empty)


def _placement(placed: dict[str, Any], release: dict[str, Any], version: str) -> Placement:
    return Placement.model_validate({**placed, "weight": release.get("weights", {}).get(version)})


def _card(data: dict[str, Any]) -> Card | None:
    if not data.get("card_path"):
        return None
    return Card(
        path=data["card_path"],
        document=data.get("card_document") or "",
        digest=data.get("card_digest") or "",
        completeness=data.get("card_completeness") or 0,
        missing=data.get("card_missing") or [],
    )
