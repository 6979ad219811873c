"""Bodies in protobuf, as helm 4 sends its Secrets: a magic, an envelope, the object; to what JSON would say."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"
CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_METADATA = {1: "name", 2: "generateName", 3: "namespace", 5: "uid", 6: "resourceVersion"}
_MAPS = {11: "labels", 12: "annotations"}


def decoded(raw: bytes) -> dict[str, Any]:
    """A Secret, or options of a deletion. Raises ValueError for what is neither."""
    if not raw.startswith(MAGIC):
        raise ValueError("no protobuf of Kubernetes begins like this")
    envelope = dict(_fields(raw[len(MAGIC) :]))
    kind = {number: value.decode() for number, value in _fields(envelope.get(1, b""))}
    if kind.get(2) == "Secret":
        return {"apiVersion": kind.get(1, "v1"), "kind": "Secret", **_secret(envelope.get(2, b""))}
    if kind.get(2) == "DeleteOptions":
        return {"apiVersion": kind.get(1, "v1"), "kind": "DeleteOptions"}
    raise ValueError(f"{kind.get(2)} is not read as protobuf here")


def _secret(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"metadata": {}, "data": {}}
    for number, value in _fields(raw):
        if number == 1:
            found["metadata"] = _metadata(value)
        elif number == 2:
            key, content = _entry(value)
            found["data"][key.decode()] = base64.b64encode(content).decode()
        elif number == 3:
            found["type"] = value.decode()
    return found


def _metadata(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(raw):
        if number in _METADATA and value:
            found[_METADATA[number]] = value.decode()
        elif number in _MAPS:
            key, content = _entry(value)
            found.setdefault(_MAPS[number], {})[key.decode()] = content.decode()
    return found


def _entry(raw: bytes) -> tuple[bytes, bytes]:
    pair = dict(_fields(raw))
    return pair.get(1, b""), pair.get(2, b"")


def _fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value: an int, or bytes."""
    place = 0
    while place < len(raw):
        tag, place = _varint(raw, place)
        if tag & 7 == 0:
            value, place = _varint(raw, place)
            yield tag >> 3, value
        elif tag & 7 == 2:
            length, place = _varint(raw, place)
            yield tag >> 3, raw[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {tag & 7} is not known here")


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(raw):
        byte = raw[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("it ends within a number")
