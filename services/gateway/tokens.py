"""Making a token: the caller shows it once, and stores only what is needed to know it again."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

PREFIX = "kz-"
TOKEN_BYTES = 32


def token_hash(token: str) -> str:
    """SHA-256, hex: enough for 256 bits of chance, where a password would need a slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def new_token(
    *, tenant: str, models: Sequence[str] = ("*",), label: str = "", expires_at: datetime | None = None
) -> tuple[str, dict[str, Any]]:
    """A fresh token and the data of its record `tokens/<id>`.

    models: model ids, or `*` for all of the tenant. Raises ValueError, all faults in one message.
    """
    faults = []
    if not tenant:
        faults.append("tenant is empty; a token belongs to one tenant")
    if not models:
        faults.append('models is empty; name model ids, or "*" for all of the tenant')
    if expires_at is not None and expires_at.tzinfo is None:
        faults.append(f"expires_at {expires_at.isoformat()} has no time zone")
    if faults:
        raise ValueError("; ".join(faults))
    token = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    return token, {
        "hash": token_hash(token),
        "tenant": tenant,
        "models": list(models),
        "label": label,
        "expires_at": None if expires_at is None else expires_at.isoformat(),
        "revoked": False,
    }
