"""From an HTTP request to CloudEvents: structured, batched or binary mode (CloudEvents 1.0.2, HTTP binding).

A bucket's own notification is read as the CloudEvent that Eventarc would make of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec

from services.ingress import notification
from shared.google.message import LONGEST, PLAIN

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MOST_EVENTS = 1000
_PREFIX = "ce-"
REQUIRED = ("specversion", "id", "source", "type")


class Unreadable(Exception):
    """The request holds no CloudEvents at all; the message says what it should hold."""


def read(headers: Mapping[str, str], body: bytes) -> list[dict[str, Any]]:
    """Each event as its JSON object, not yet checked. headers: names in lower case. Raises Unreadable."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == BATCH:
        return _batch(body)
    if media == STRUCTURED:
        return [_object(_parsed(body), "the body")]
    if f"{_PREFIX}specversion" in headers:
        return [_binary(headers, body, media)]
    if notification.is_one(headers):
        return [notification.event(headers, _object(_parsed(body), "the body"))]
    raise Unreadable(
        f"content-type is {media or 'missing'}: send {STRUCTURED}, {BATCH},"
        " or application/json with the headers ce-specversion, ce-id, ce-source, ce-type and ce-time"
    )


def faults(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong with the attributes of one event, a line each."""
    found = [
        f"{name} is missing" if name not in raw else f"{name} is no text that says something"
        for name in REQUIRED
        if not (isinstance(raw.get(name), str) and raw[name].strip())
    ]
    if isinstance(raw.get("specversion"), str) and raw["specversion"] not in ("1.0", ""):
        found.append(f"specversion is {raw['specversion'][:20]!r}; it should be '1.0'")
    odd = [name for name in ("subject", "time", "traceparent") if not isinstance(raw.get(name, ""), str)]
    found += [f"{name} is no text" for name in odd]
    long = [
        name
        for name in (*REQUIRED, "subject", "traceparent")
        if isinstance(raw.get(name), str) and len(quote(raw[name], safe=PLAIN)) > LONGEST
    ]
    found += [f"{name} has more than {LONGEST} bytes, percent-encoded as in a header" for name in long]
    return found


def _batch(body: bytes) -> list[dict[str, Any]]:
    parsed = _parsed(body)
    if not isinstance(parsed, list):
        raise Unreadable("the body of a batch is no JSON array")
    if len(parsed) > MOST_EVENTS:
        raise Unreadable(f"the batch has {len(parsed)} events; {MOST_EVENTS} are the most")
    return [_object(one, f"event {index} of the batch") for index, one in enumerate(parsed)]


def _binary(headers: Mapping[str, str], body: bytes, media: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        name.removeprefix(_PREFIX): unquote_to_bytes(value).decode("utf-8", "replace")
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    if body and media not in ("application/json", ""):
        raise Unreadable(f"content-type is {media}; the data of our events is application/json")
    return {**attributes, "data": _parsed(body) if body else {}}


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unreadable(f"the body is no JSON: {error}") from error


def _object(parsed: Any, what: str) -> dict[str, Any]:
    if not isinstance(parsed, dict):
        raise Unreadable(f"{what} is no JSON object")
    return parsed
