"""Bodies as helm 4 sends them."""

from __future__ import annotations

import pytest

from shared.kubernetes.fake import protobuf


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def body(kind: str, obj: bytes = b"") -> bytes:
    return protobuf.MAGIC + field(1, field(1, b"v1") + field(2, kind.encode())) + field(2, obj)


def test_a_secret():
    metadata = field(1, b"sh.helm.release.v1.a.v1") + field(3, b"team-x-api") + field(2, b"")
    metadata += field(11, field(1, b"owner") + field(2, b"helm")) + field(11, field(1, b"status"))
    metadata += field(7, 3)
    secret = (
        field(1, metadata)
        + field(2, field(1, b"release") + field(2, b"x" * 300))
        + field(3, b"helm.sh/release.v1")
    )
    found = protobuf.decoded(body("Secret", secret))
    assert (found["apiVersion"], found["kind"], found["type"]) == ("v1", "Secret", "helm.sh/release.v1")
    assert found["metadata"] == {
        "name": "sh.helm.release.v1.a.v1",
        "namespace": "team-x-api",
        "labels": {"owner": "helm", "status": ""},
    }
    assert found["data"] == {"release": "eHh4" * 100}


def test_options_of_a_deletion():
    assert protobuf.decoded(body("DeleteOptions")) == {"apiVersion": "v1", "kind": "DeleteOptions"}


@pytest.mark.parametrize(
    "raw", [b"{}", body("Pod"), protobuf.MAGIC + b"\x0d", protobuf.MAGIC + b"\x80", protobuf.MAGIC]
)
def test_what_it_is_not(raw: bytes):
    with pytest.raises(ValueError):
        protobuf.decoded(raw)
