"""Which content of an object one speaks of, as its store tells it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """size: bytes. version: another one is other content. checks: name of a checksum -> hex, where the store has it
    (`crc32c`: base64).
    """

    size: int
    version: str
    checks: dict[str, str] = {}


def kept_digest(metadata: Mapping[str, str] | None, name: str = "sha256") -> dict[str, str]:
    """What our own stores keep beside an object, where it is one: 64 digits."""
    said = (metadata or {}).get(name, "")
    return {"sha256": said} if len(said) == 64 and all(c in "0123456789abcdef" for c in said) else {}
