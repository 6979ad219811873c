"""Passing a request on to its engine, and the engine's bytes back as they come."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

from services.gateway.call import Call
from services.gateway.connection import Connection, UpstreamError
from services.gateway.metrics import Metrics
from services.gateway.options import Options
from services.gateway.peek import with_model
from services.gateway.ports import Placement, Target
from services.gateway.reply import Reply
from services.gateway.request import header
from services.gateway.sse import Events, event
from services.gateway.translate import no_answer, passed_on, refusal
from services.gateway.upstream import Answer, Upstreams

_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Proxy:
    """key: from a release's name to the key its engine was started with."""

    def __init__(
        self, upstreams: Upstreams, metrics: Metrics, options: Options, key: Callable[[str], str]
    ) -> None:
        self._upstreams = upstreams
        self._metrics = metrics
        self._options = options
        self._key = key
        self._active: Counter[str] = Counter()

    def active(self, name: str) -> int:
        """Requests under way with `<model_id>@<version>`, at whatever address: engines may carry several."""
        return self._active[name]

    async def reach(self, call: Call, target: Target) -> Answer:
        """Send it; the connection is to be given to `relay`. Raises UpstreamError."""
        body = call.body
        placement = target.placement
        if placement.engine_model and placement.engine_model != call.model:
            body = with_model(body, placement.engine_model)
        head = request_head(call, placement, len(body), self._key(placement.keeper))
        self._active[target.name] += 1
        with ExitStack() as undo:
            undo.callback(self._leave, target)
            try:
                answer = await self._upstreams.exchange(
                    placement.address, (head, body), repeatable=call.repeatable
                )
            except UpstreamError as error:
                self._failed(call, error)
                raise
            undo.pop_all()
        call.failure, call.reached = "", True
        return answer

    async def relay(self, call: Call, target: Target, answer: Answer, reply: Reply) -> None:
        """Pass the answer on; a client that has gone closes the connection at once. Raises ApiError."""
        connection, head = answer
        try:
            if head.status >= 400:
                await self._refuse(call, answer, reply)
            elif head.header(b"content-type").startswith(b"text/event-stream"):
                await self._stream_events(call, answer, reply)
            elif head.length is not None and head.length <= self._options.whole_body:
                body = await self._collect(call, connection, head.length)
                await reply.whole(head.status, body, passed_on(head.headers))
            else:
                await self._stream_bytes(call, answer, reply)
        finally:
            self._leave(target)
            self._upstreams.done(target.placement.address, connection)

    def _leave(self, target: Target) -> None:
        self._active[target.name] -= 1
        if not self._active[target.name]:
            del self._active[target.name]

    async def _refuse(self, call: Call, answer: Answer, reply: Reply) -> None:
        connection, head = answer
        body = await self._collect(call, connection, self._options.whole_body)
        error = refusal(head.status, body, call.route)
        headers = passed_on(head.headers)
        if (error.status if error else head.status) in {429, 503} and not head.header(b"retry-after"):
            headers = (*headers, (b"retry-after", b"%d" % self._options.retry_after))
        if error is None:
            await reply.whole(head.status, body, headers)
            return
        error.headers = tuple(pair for pair in headers if pair[0] == b"retry-after")
        raise error

    async def _collect(self, call: Call, connection: Connection, limit: int) -> bytes:
        """The body up to about `limit` bytes; what an engine says beyond that is not worth a connection."""
        chunks: list[bytes] = []
        size = 0
        try:
            while size <= limit and (chunk := await connection.read(self._options.idle)):
                chunks.append(chunk)
                size += len(chunk)
        except UpstreamError as error:
            self._failed(call, error)
            raise no_answer(error, self._options.retry_after) from None
        return b"".join(chunks)

    async def _stream_events(self, call: Call, answer: Answer, reply: Reply) -> None:
        connection, head = answer
        events = Events()
        await reply.start(head.status, passed_on(head.headers))
        try:
            while chunk := await connection.read(self._options.idle):
                if ready := events.feed(chunk):
                    await reply.body(ready, more=True)
        except UpstreamError as error:
            self._failed(call, error)
            broken = no_answer(error, self._options.retry_after)
            await reply.body(event(broken.body), more=False)
            return
        await reply.body(events.rest(), more=False)

    async def _stream_bytes(self, call: Call, answer: Answer, reply: Reply) -> None:
        """A long answer that breaks is left unfinished: the server then cuts the client's connection."""
        connection, head = answer
        length = () if head.length is None else ((b"content-length", b"%d" % head.length),)
        await reply.start(head.status, (*passed_on(head.headers), *length))
        try:
            while chunk := await connection.read(self._options.idle):
                await reply.body(chunk, more=True)
        except UpstreamError as error:
            self._failed(call, error)
            return
        await reply.body(b"", more=False)

    def _failed(self, call: Call, error: UpstreamError) -> None:
        call.failure = error.kind
        self._metrics.upstream_failed(error.kind)


def request_head(call: Call, placement: Placement, length: int, key: str) -> bytes:
    """Request line and headers for the engine: only what it needs, nothing of the client's own but its trace."""
    accept = "text/event-stream" if call.stream else "application/json"
    lines = [
        f"POST {call.route} HTTP/1.1",
        f"host: {placement.address}",
        f"authorization: Bearer {key}",
        f"accept: {accept}",
        "content-type: application/json",
        f"content-length: {length}",
        f"x-request-id: {call.request_id}",
    ]
    trace = header(call.headers, b"traceparent")
    if _TRACEPARENT.fullmatch(trace):
        lines.append(f"traceparent: {trace.decode()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
