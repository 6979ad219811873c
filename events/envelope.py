"""The frozen CloudEvent that travels between services; the only file that knows the CloudEvents SDK.

Id and time are arguments, never made here: a replayed cause must yield the very same event.
Specification: CloudEvents 1.0.2, JSON event format.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from cloudevents.conversion import to_structured
from cloudevents.http import CloudEvent as SdkEvent
from cloudevents.http import from_http

TYPE_PREFIX = "dev.kuznia."
TYPE_SUFFIX = ".v1"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One CloudEvent.

    name: the short name, which is also the topic (`config-committed`).
    source: who said it, a URI reference (`/kuznia/training`).
    subject: the record it is about (`runs/r-0123456789abcdef`); deliveries keep their order by it.
    time: when it was said, UTC.
    data: the payload as plain JSON types; `events.catalog.decode` gives its class.
    traceparent: W3C trace context of the push that began it all.
    cause: id of the event this one answers, empty for the first of a chain.
    """

    id: str
    name: str
    source: str
    subject: str
    time: datetime
    data: dict[str, Any]
    traceparent: str = ""
    cause: str = ""

    @property
    def type(self) -> str:
        """The CloudEvents `type`: `dev.kuznia.<name>.v1`."""
        return f"{TYPE_PREFIX}{self.name}{TYPE_SUFFIX}"


class EnvelopeError(ValueError):
    """The bytes are no CloudEvent of ours; the message says which attribute and why."""


def name_of_type(type_: str) -> str:
    """`dev.kuznia.model-validated.v1` -> `model-validated`. Raises EnvelopeError for any other shape."""
    if not (type_.startswith(TYPE_PREFIX) and type_.endswith(TYPE_SUFFIX)):
        raise EnvelopeError(f"type {type_!r} is not of the form {TYPE_PREFIX}<name>{TYPE_SUFFIX}")
    return type_[len(TYPE_PREFIX) : -len(TYPE_SUFFIX)]


def to_structured_json(event: Event) -> bytes:
    """The event in structured mode (`application/cloudevents+json`), as other systems read it."""
    attributes = {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "datacontenttype": "application/json",
    }
    extensions = {"traceparent": event.traceparent, "cause": event.cause}
    attributes.update({name: value for name, value in extensions.items() if value})
    _, body = to_structured(SdkEvent(attributes, event.data))
    return bytes(body)


def from_structured_json(body: bytes) -> Event:
    """The inverse of `to_structured_json`. Raises EnvelopeError naming what is missing or wrong."""
    try:
        parsed = from_http({"content-type": "application/cloudevents+json"}, body)
        said = json.loads(body).get("time")  # the SDK would put its own clock where it is missing
    except Exception as error:  # the SDK raises many kinds; each means the same to a caller
        raise EnvelopeError(f"not a CloudEvent: {error}") from error
    data = {} if parsed.data is None else parsed.data
    if not isinstance(data, dict):
        raise EnvelopeError(f"data is no JSON object but a {type(data).__name__}")
    return Event(
        id=parsed["id"],
        name=name_of_type(parsed["type"]),
        source=parsed["source"],
        subject=parsed.get("subject") or "",
        time=_utc(said),
        data=data,
        traceparent=parsed.get("traceparent") or "",
        cause=parsed.get("cause") or "",
    )


def _utc(text: str | None) -> datetime:
    if not text:
        raise EnvelopeError("time is missing: an event must say when it was said")
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise EnvelopeError(f"time {text!r} is not of RFC 3339, such as 2026-11-23T10:00:00Z") from None
    except OverflowError:  # the first and the last hours of the calendar, in another zone
        raise EnvelopeError(f"time {text!r} is out of range") from None
