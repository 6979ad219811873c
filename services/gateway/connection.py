"""One HTTP/1.1 connection to an engine: parsed for its framing only, the bytes pass as they are."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools
import msgspec

from shared.errors import KuzniaError

HIGH_WATER = 256 * 1024


class UpstreamError(KuzniaError):
    """The engine failed us. kind: refused, connect_timeout, broken, timeout, malformed."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Head(msgspec.Struct, frozen=True):
    """Status and headers of a response, names in lower case. length: of the body, None where not said."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    length: int | None

    def header(self, name: bytes) -> bytes:
        """The first of that name, empty where there is none."""
        return next((value for key, value in self.headers if key == name), b"")


class Connection(asyncio.Protocol):
    """One exchange at a time. Its buffer is bounded: a slow reader slows the engine."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: UpstreamError | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: Head | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._complete = True
        self._keep_alive = False
        self._surplus = False
        self._paused = False
        self._open = False
        self.heard = False
        self.idle_since = 0.0

    @property
    def reusable(self) -> bool:
        """Whether the exchange ended cleanly and both sides wish to go on."""
        return (
            self._open
            and self._complete
            and self._keep_alive
            and not self._chunks
            and not self._surplus
            and self._transport is not None
            and self._transport.get_write_buffer_size() == 0
        )

    async def request(self, head: bytes, body: bytes, timeout: float) -> Head:  # noqa: ASYNC109 - of a wait in here
        """Send a request and wait for the head of its response. Raises UpstreamError."""
        if self._transport is None or not self._open:
            raise self._error or UpstreamError("broken", "the engine closed the connection")
        self._head, self._complete, self.heard = None, False, False
        self._transport.write(head)
        self._transport.write(body)
        while (answer := self._answered()) is None:
            await self._wait(timeout, "it did not start to answer")
        return answer

    async def read(self, timeout: float) -> bytes:  # noqa: ASYNC109 - of a wait in here
        """What has come, at once if there is some; empty at the end. Raises UpstreamError."""
        while not self._chunks:
            if self._complete:
                return b""
            await self._wait(timeout, "it fell silent in the middle of its answer")
        chunk = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._open and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    def close(self) -> None:
        """Drop the connection at once, whatever is under way."""
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self, timeout: float, silence: str) -> None:  # noqa: ASYNC109 - of a wait in here
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._waiter
        except TimeoutError:
            raise UpstreamError("timeout", f"{silence} for {timeout:g} s") from None
        finally:
            self._waiter = None

    def _answered(self) -> Head | None:
        return self._head

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, kind: str, message: str) -> None:
        self._open = False
        if self._error is None:
            self._error = UpstreamError(kind, message)
        self._wake()

    # what asyncio tells us

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for a request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not of that class by name
        self._open = True

    def data_received(self, data: bytes) -> None:
        """Feed the parser; words nobody asked for end the connection."""
        if self._complete:
            self.close()
            return
        self.heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail("malformed", f"its answer is no HTTP: {error}")
            self.close()
            return
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The engine closed: the end of a body of unknown length, or a break."""
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """The same, less politely."""
        if exc is None:
            self._ended()
        else:
            self._fail("broken", "the engine broke the connection")

    def _ended(self) -> None:
        if self._head is not None and not self._complete and self._ends_with_connection(self._head):
            self._complete = True
        self._fail("broken", "the engine closed the connection")

    @staticmethod
    def _ends_with_connection(head: Head) -> bool:
        return head.length is None and not head.header(b"transfer-encoding")

    # what httptools tells us

    def on_message_begin(self) -> None:
        """A response starts; one that nobody asked for spoils the connection."""
        self._surplus = self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head stands, unless it is an interim one (1xx)."""
        status = self._parser.get_status_code()
        headers, self._headers = tuple(self._headers), []
        if status >= 200 and not self._surplus:
            length = next((int(value) for name, value in headers if name == b"content-length"), None)
            self._head = Head(status, headers, length)
            self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        if not self._surplus:
            self._chunks.append(body)
            self._buffered += len(body)

    def on_message_complete(self) -> None:
        """The end, unless it was an interim response."""
        if self._head is not None:
            self._complete = True
