"""An event as a message: CloudEvents binary mode, its attributes on the message, its payload as the body.

Specification: CloudEvents 1.0.2, Google Cloud Pub/Sub and HTTP protocol bindings.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from events.envelope import EnvelopeError, Event, name_of_type

PREFIX = "ce-"
CONTENT_TYPE = "content-type"
JSON = "application/json"
_encode = msgspec.json.Encoder().encode


def attributes(event: Event) -> dict[str, str]:
    """What lies on the message; those that are empty are left out."""
    said = {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "subject": event.subject,
        "time": event.time.isoformat(),
        "traceparent": event.traceparent,
        "cause": event.cause,
    }
    return {CONTENT_TYPE: JSON} | {f"{PREFIX}{name}": value for name, value in said.items() if value}


def body(event: Event) -> bytes:
    """The payload as JSON."""
    return _encode(event.data)


def read(attributes: Mapping[str, str], content: bytes) -> Event:
    """The inverse of `attributes` and `body`; names in lower case. Raises EnvelopeError naming all that is wrong."""
    said = {name[len(PREFIX) :]: value for name, value in attributes.items() if name.startswith(PREFIX)}
    return event(said, _payload(content))


def event(said: Mapping[str, str], data: object) -> Event:
    """An event of its CloudEvents attributes and its payload. Raises EnvelopeError naming all that is wrong."""
    missing = [name for name in ("id", "type", "source", "time") if not said.get(name)]
    if missing:
        raise EnvelopeError(f"no CloudEvent in binary mode: {', '.join(missing)} missing")
    if not isinstance(data, dict):
        raise EnvelopeError(f"the body is no JSON object but a {type(data).__name__}")
    return Event(
        id=said["id"],
        name=name_of_type(said["type"]),
        source=said["source"],
        subject=said.get("subject", ""),
        time=_moment(said["time"]),
        data=data,
        traceparent=said.get("traceparent", ""),
        cause=said.get("cause", ""),
    )


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise EnvelopeError(
            f"{PREFIX}time {text!r} is not of RFC 3339, such as 2026-11-23T10:00:00Z"
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _payload(content: bytes) -> object:
    try:
        return msgspec.json.decode(content or b"{}")
    except msgspec.DecodeError as error:
        raise EnvelopeError(f"the body is no JSON: {error}") from error
