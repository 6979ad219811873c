"""Who asks: a bearer token, known by its hash."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from services.gateway.errors import invalid_key
from services.gateway.ports import Token
from services.gateway.tokens import token_hash


def presented(authorization: bytes) -> str:
    """Hash of the token in an `Authorization` header. Raises ApiError 401 where there is none."""
    scheme, _, token = authorization.strip().partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise invalid_key("You did not provide an API key: send `Authorization: Bearer <token>`.")
    return token_hash(token.decode("utf-8", "surrogateescape"))


def admit(digest: str, tokens: Mapping[str, Token], now: datetime) -> Token:
    """The token of that hash. Raises ApiError 401 where it is unknown, revoked or expired."""
    token = tokens.get(digest)
    if token is None:
        raise invalid_key("Incorrect API key provided; `kuznia tokens` makes a new one.")
    if token.revoked:
        raise invalid_key("This API key has been revoked; `kuznia tokens` makes a new one.")
    if token.expires_at is not None and _aware(token.expires_at) <= now:
        raise invalid_key("This API key has expired; `kuznia tokens` makes a new one.")
    return token


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
