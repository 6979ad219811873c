"""Pages of records by cursor, with conditions the store does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from services.console.errors import ApiError
from shared.ports.store import Store
from shared.record import Record

BATCH = 500
M = TypeVar("M", bound=BaseModel)


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What to go through. after: name of the record to go on from. keep: further conditions."""

    kind: str
    limit: int
    status: str = ""
    prefix: str = ""
    after: str = ""
    keep: Callable[[Record], bool] = bool


class Page(msgspec.Struct, frozen=True):
    """Up to `limit` records, and the cursor of the next page (None on the last)."""

    records: list[Record]
    next: str | None


def page_of(store: Store, scan: Scan) -> Page:
    """Read on until the page is full. Raises Retry."""
    found: list[Record] = []
    after = f"{scan.kind}/{scan.after}" if scan.after else ""
    batch = min(scan.limit + 1, BATCH)
    while len(found) <= scan.limit:
        records = store.list(scan.kind, status=scan.status, prefix=scan.prefix, after=after, limit=batch)
        found.extend(record for record in records if scan.keep(record))
        if len(records) < batch:
            break
        after = records[-1].key
    page = found[: scan.limit]
    return Page(page, page[-1].name if len(found) > scan.limit else None)


def told(kind: type[M], record: Record, **more: object) -> M:
    """A record's data, and the record's own fields, as what the API says.

    Raises ApiError (500) naming record and field where the record does not read.
    """
    own = {
        "status": record.status,
        "revision": record.revision,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "dead": msgspec.to_builtins(record.dead),
    }
    try:
        return kind.model_validate({**record.data, **own, **more})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors())
        raise ApiError(
            500,
            f"the record does not read as it should: {faults}",
            where=record.key,
            mend="look at its last events: the service that owns it wrote something else than it says",
        ) from error
