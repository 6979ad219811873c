"""The body of a request that anybody may send: read to a limit, never beyond."""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request


async def body_of(request: Request, limit: int) -> bytes:
    """The body, or its first `limit` + 1 bytes: enough to know that it is too long. Empty where the client left."""
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            chunks += chunk
            if len(chunks) > limit:
                break
    except ClientDisconnect:
        return b""
    return bytes(chunks[: limit + 1])
