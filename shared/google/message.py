"""An event as a message: CloudEvents binary mode, its attributes on the message, its payload as the body.

Specification: CloudEvents 1.0.2, Google Cloud Pub/Sub and HTTP protocol bindings. A push makes headers of attributes,
as they are, so they are percent-encoded as headers have to be.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import msgspec

from events.envelope import EnvelopeError, Event, name_of_type
from shared.errors import Reject

PREFIX = "ce-"
CONTENT_TYPE = "content-type"
JSON = "application/json"
LONGEST = 1024  # bytes of an attribute, and of an ordering key; Pub/Sub refuses a whole batch for one that is longer
PLAIN = "!#$&'()*+,/:;<=>?@[\\]^`{|}"  # what of ASCII, besides letters and digits, a header has as it is
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
    return {CONTENT_TYPE: JSON} | {
        f"{PREFIX}{name}": quote(value, safe=PLAIN) for name, value in said.items() if value
    }


def require_carriable(event: Event) -> None:
    """Raises Reject, naming each attribute that is too long."""
    sizes = {name: len(value) for name, value in attributes(event).items()}
    sizes["subject"] = max(sizes.get(f"{PREFIX}subject", 0), len(event.subject.encode()))
    long = [
        f"{name.removeprefix(PREFIX)} has {size}" for name, size in sorted(sizes.items()) if size > LONGEST
    ]
    if long:
        told = ", ".join(dict.fromkeys(long))
        raise Reject(
            f"{event.name} {event.id[:100]}: {told} bytes as an attribute, and {LONGEST} are the most"
        )


def body(event: Event) -> bytes:
    """The payload as JSON."""
    return _encode(event.data)


def read(attributes: Mapping[str, str], content: bytes) -> Event:
    """The inverse of `attributes` and `body`; names in lower case. Raises EnvelopeError naming all that is wrong."""
    said = {name[len(PREFIX) :]: value for name, value in attributes.items() if name.startswith(PREFIX)}
    return event(said, _payload(content))


def event(said: Mapping[str, str], data: object) -> Event:
    """An event of its CloudEvents attributes, still encoded, and its payload.

    Raises EnvelopeError naming all that is wrong.
    """
    said = {name: unquote(str(value)) for name, value in said.items()}
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
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # the first and the last hours of the calendar, in another zone
        raise EnvelopeError(
            f"{PREFIX}time {text!r} is not of RFC 3339, such as 2026-11-23T10:00:00Z"
        ) from None


def _payload(content: bytes) -> object:
    try:
        return msgspec.json.decode(content or b"{}")
    except (msgspec.DecodeError, RecursionError) as error:
        raise EnvelopeError(f"the body is no JSON: {error}") from error
