"""Standard Webhooks: how a webhook is signed, and how it is proven. GitLab signs so, and so do we.

Signed is `<id>.<timestamp>.<body>` by HMAC-SHA256; a secret is `whsec_` and the key in base64. Several signatures
may stand side by side, so that a secret can be rotated.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

import msgspec

PREFIX = "whsec_"
VERSION = "v1,"
TOLERANCE_SECONDS = 300


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """The headers `webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`."""

    id: str
    timestamp: str
    signatures: str


def new_secret() -> str:
    """A fresh secret of 32 bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key(secret: bytes) -> bytes:
    """The key in a secret; one that is no `whsec_<base64>` is taken as it is."""
    if not secret.startswith(PREFIX.encode()):
        return secret
    try:
        return base64.b64decode(secret.removeprefix(PREFIX.encode()), validate=True)
    except binascii.Error:
        return secret


def sign(identifier: str, timestamp: int, body: bytes, keys: Sequence[bytes]) -> Stamp:
    """The stamp of a message, with a signature for every secret."""
    signatures = " ".join(_signature(identifier, str(timestamp), body, secret) for secret in keys)
    return Stamp(id=identifier, timestamp=str(timestamp), signatures=signatures)


def fault(stamp: Stamp, body: bytes, keys: Sequence[bytes], now: datetime) -> str:
    """Why the message is not proven to be of one who has a secret, or empty; in constant time."""
    if not (stamp.timestamp.isascii() and stamp.timestamp.isdigit()):
        return f"webhook-timestamp is {stamp.timestamp[:40]!r}; it should be Unix seconds"
    apart = abs(now.timestamp() - int(stamp.timestamp[:18]))
    if apart > TOLERANCE_SECONDS:
        return (
            f"webhook-timestamp is {apart:.0f} s away from our clock; {TOLERANCE_SECONDS} s are allowed:"
            " set both clocks, or send it again"
        )
    made = [_signature(stamp.id, stamp.timestamp, body, secret).encode() for secret in keys]
    given = [signature.encode() for signature in stamp.signatures.split()]
    if any(hmac.compare_digest(one, other) for one in made for other in given):
        return ""
    return "webhook-signature does not fit the body: check that both sides have the same secret"


def _signature(identifier: str, timestamp: str, body: bytes, secret: bytes) -> str:
    signed = b".".join((identifier.encode(), timestamp.encode(), body))
    return VERSION + base64.b64encode(hmac.new(key(secret), signed, hashlib.sha256).digest()).decode()
