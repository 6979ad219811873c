"""One request on its way through: what is known of it so far."""

from __future__ import annotations

import msgspec

from services.gateway.ports import Target, Token


class Call(msgspec.Struct, kw_only=True):
    """path: as asked. route: its label in metrics and audit. failure: kind of an upstream error that the
    status alone would not tell. conversation: what it is routed by where versions share a model's requests.
    reached: an engine has answered something.
    """

    request_id: str
    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    route: str = "other"
    token: Token | None = None
    target: Target | None = None
    model: str = ""
    stream: bool = False
    repeatable: bool = False
    body: bytes = b""
    conversation: str = ""
    reached: bool = False
    failure: str = ""
