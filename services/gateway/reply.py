"""The answer to one request, on its way out: its headers, how much has gone, whether it is finished."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from services.gateway.errors import ApiError, Headers
from services.gateway.ports import Target

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
JSON = (b"content-type", b"application/json")


class Reply:
    """Counts what it sends; every answer carries the request's id, and the model's name once it is known.

    first_at: when the first byte went, by `time.perf_counter`; 0 before that.
    """

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._always: Headers = ((b"x-request-id", request_id.encode()),)
        self.status = 0
        self.bytes_out = 0
        self.first_at = 0.0
        self.finished = False

    def name_model(self, target: Target) -> None:
        """Let every token be traced: which version, which weights, which card."""
        placement = target.placement
        self._always = (
            self._always[0],
            (b"x-kuznia-model", target.name.encode()),
            (b"x-kuznia-manifest", placement.manifest_digest.encode()),
            (b"x-kuznia-card", placement.card_digest.encode()),
        )

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        self.status = status
        await self._send(
            {"type": "http.response.start", "status": status, "headers": [*headers, *self._always]}
        )

    async def body(self, chunk: bytes, *, more: bool) -> None:
        """Send some of the body; waits while the client is slow."""
        if chunk and not self.bytes_out:
            self.first_at = time.perf_counter()
        self.bytes_out += len(chunk)
        self.finished = not more
        await self._send({"type": "http.response.body", "body": chunk, "more_body": more})

    async def whole(self, status: int, body: bytes, headers: Headers = (JSON,)) -> None:
        """Send a complete answer."""
        await self.start(status, (*headers, (b"content-length", b"%d" % len(body))))
        await self.body(body, more=False)

    async def json(self, value: Any) -> None:
        """Send a value as JSON."""
        await self.whole(200, msgspec.json.encode(value))

    async def error(self, error: ApiError) -> None:
        """Send an error in OpenAI's shape."""
        await self.whole(error.status, error.body, (JSON, *error.headers))
