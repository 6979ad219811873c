"""A bucket's own notification, as Pub/Sub pushes it unwrapped: no CloudEvent, but it says as much as Eventarc's.

Its attributes come as headers, the object's metadata as the body (payload format JSON_API_V1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

FORMAT = "JSON_API_V1"
WRITTEN = "OBJECT_FINALIZE"
SOURCE = "//storage.googleapis.com/projects/_/buckets/"
TYPES = {
    WRITTEN: "finalized",
    "OBJECT_DELETE": "deleted",
    "OBJECT_ARCHIVE": "archived",
    "OBJECT_METADATA_UPDATE": "metadataUpdated",
}
PREFIX = "google.cloud.storage.object.v1."


def is_one(headers: Mapping[str, str]) -> bool:
    """Whether the request is a bucket's word. headers: names in lower case."""
    return headers.get("eventtype", "") in TYPES and headers.get("payloadformat") == FORMAT


def event(headers: Mapping[str, str], told: Mapping[str, Any]) -> dict[str, Any]:
    """As Eventarc would say it. told: the object's metadata. The same word again is the same event.

    Of what is missing in the metadata nothing is said, and the faults of the event tell it.
    """
    bucket, name, generation = (str(told.get(key, "")) for key in ("bucket", "name", "generation"))
    which = hashlib.sha256(f"{bucket}/{name}".encode()).hexdigest()[:32]
    moment = told.get("updated") or told.get("timeCreated")
    return {
        "specversion": "1.0",
        "id": f"{generation}-{which}" if generation else "",
        "source": f"{SOURCE}{bucket}" if bucket else "",
        "type": f"{PREFIX}{TYPES[headers['eventtype']]}",
        "time": moment if isinstance(moment, str) else "",
        "data": dict(told),
    }
