"""What comes in: headers, a body of limited size, and the news that the client has gone."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterable
from types import TracebackType

from services.gateway.errors import ApiError, ClientGoneError
from services.gateway.reply import Message, Receive, Reply

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:\-]{0,127}")


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes:
    """The first of that name (lower case), empty where there is none."""
    return next((value for key, value in headers if key == name), b"")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's `x-request-id`, if it is fit for a log; else a new one."""
    given = header(headers, b"x-request-id")
    return given.decode() if _SANE_ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"


def conversation(headers: Iterable[tuple[bytes, bytes]], user: object, fallback: str) -> str:
    """What stays the same from turn to turn: `x-conversation-id`, else the body's `user`, else this request alone."""
    given = header(headers, b"x-conversation-id")
    if given:
        return given.decode("latin-1")
    return user if isinstance(user, str) and user else fallback


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, limit: int, patience: float
) -> bytes:
    """The body, at most `limit` bytes. patience: seconds between two pieces. Raises ApiError 408, 413,
    ClientGoneError.
    """
    said = header(headers, b"content-length")
    if said.isdigit() and int(said) > limit:
        raise _too_large(limit)
    chunks, size, more = [], 0, True
    while more:
        message = await _next_piece(receive, patience)
        if message["type"] != "http.request":
            raise ClientGoneError
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _next_piece(receive: Receive, patience: float) -> Message:
    try:
        async with asyncio.timeout(patience):
            return await receive()
    except TimeoutError:
        raise ApiError(
            408,
            f"The request body did not go on for {patience:g} s.",
            code="request_timeout",
            headers=((b"connection", b"close"),),
        ) from None


def _too_large(limit: int) -> ApiError:
    return ApiError(
        413,
        f"The request body is larger than the {limit} bytes this gateway takes.",
        code="request_too_large",
        headers=((b"connection", b"close"),),
    )


class WhileConnected:
    """Cancels what runs inside it when the client goes away, and raises ClientGoneError in its place."""

    def __init__(self, receive: Receive, reply: Reply) -> None:
        self._receive = receive
        self._reply = reply
        self._gone = False
        self._task: asyncio.Task[object] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._cancelling = 0

    async def __aenter__(self) -> None:
        """Start to listen."""
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._watch = asyncio.create_task(self._listen())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; a cancellation that is ours becomes ClientGoneError."""
        if self._watch is not None:
            self._watch.cancel()
        if not self._gone or self._task is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise ClientGoneError from error

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if not self._reply.finished and self._task is not None:
            self._gone = True
            self._task.cancel()
