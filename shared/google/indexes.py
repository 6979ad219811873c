"""`python -m shared.google.indexes`: writes `infra/firestore.indexes.json`, an index for each query that needs one.

The emulator answers without any, so a missing one would show in production only.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import Client
from google.cloud.firestore_v1.query import Query as FirestoreQuery

from shared.google import queries
from shared.ports.bus import Query

FILE = Path(__file__).parents[2] / "infra" / "firestore.indexes.json"
EQUAL = 5  # of StructuredQuery.FieldFilter.Operator
ASCENDING = 1  # of StructuredQuery.Direction
BODIES = (
    queries.RECORDS,
    queries.EVENTS,
    queries.DELIVERIES,
    queries.DEAD,
    queries.NOTES,
)
_SOME = datetime(2026, 1, 1, tzinfo=UTC)


def every_query() -> Iterator[FirestoreQuery]:
    """One of each shape that `queries` can make."""
    client = Client(project="shapes", credentials=AnonymousCredentials())
    for status in ("", "TRAINING"):
        yield queries.records(client, "runs/", "", status, 1)
    for name, subject, since, until, newest in itertools.product(
        ("", "a"), ("", "b"), (None, _SOME), (None, _SOME), (False, True)
    ):
        asked = Query(name=name, subject=subject, since=since, until=until, newest=newest, after=1)
        yield queries.log(client, asked)
    yield queries.owing(client, _SOME, 1)
    yield queries.changed(client)
    yield queries.lane_head(client, "a", "b")
    yield queries.due(client, "a", _SOME, 1)
    yield queries.due_later(client, "a", _SOME)
    yield queries.waiting(client, 1)
    yield queries.event(client, "a")
    yield queries.events_from(client, "a", 1)
    yield queries.dead(client, 1)
    yield queries.dead_of(client, "a", "b")
    yield queries.decisions(client, "a", "")
    yield queries.decisions(client, "", "b")
    yield queries.causes(client)
    yield queries.notes(client)
    yield from queries.everything(client).values()
    yield queries.subscriptions(client)


def document() -> dict[str, Any]:
    """What the file holds; Terraform and the Firebase tools read it."""
    needed = {json.dumps(index): index for query in every_query() if (index := needed_by(query))}
    bodies = [{"collectionGroup": name, "fieldPath": "body", "indexes": []} for name in BODIES]
    return {"indexes": [needed[key] for key in sorted(needed)], "fieldOverrides": bodies}


def needed_by(query: FirestoreQuery) -> dict[str, Any] | None:
    """The composite index of a query; None where those of single fields, which are always there, are enough."""
    asked = query._to_protobuf()  # noqa: SLF001 - the client shows the shape of a query nowhere else
    filters = list(_filters(asked.where))
    equal = [name for name, operator in filters if operator == EQUAL]
    orders = {order.field.field_path: int(order.direction) for order in asked.order_by}
    orders.pop("__name__", None)
    last = list(orders.values())[-1] if orders else ASCENDING
    for name, operator in filters:
        if operator != EQUAL:
            orders.setdefault(name, last)
    if len(orders) + bool(equal) < 2 or not orders:
        return None
    directions = dict.fromkeys(equal, ASCENDING) | orders
    return {
        "collectionGroup": asked.from_[0].collection_id,
        "queryScope": "COLLECTION",
        "fields": [
            {"fieldPath": name, "order": "ASCENDING" if direction == ASCENDING else "DESCENDING"}
            for name, direction in directions.items()
        ],
    }


def _filters(where: Any) -> Iterator[tuple[str, int]]:
    if where.field_filter.field.field_path:
        yield where.field_filter.field.field_path, int(where.field_filter.op)
    for part in where.composite_filter.filters:
        yield from _filters(part)


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=2) + "\n", encoding="utf-8")
