"""Our own small HTTP client: keep-alive connections to each engine, opened on demand."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import ExitStack

from services.gateway.connection import Connection, Head, UpstreamError
from services.gateway.options import Options

Request = tuple[bytes, bytes]
Answer = tuple[Connection, Head]


class Upstreams:
    """Connections by address. repeats: how often a stale connection made us send a request again."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._idle: dict[str, deque[Connection]] = {}
        self._active: Counter[str] = Counter()
        self.repeats = 0

    def active(self, address: str) -> int:
        """Exchanges under way with that engine: 0 means that it has been drained."""
        return self._active[address]

    async def exchange(self, address: str, request: Request, *, repeatable: bool) -> Answer:
        """Send a request; the connection is the caller's until `done`. Raises UpstreamError.

        A kept connection that the engine closed before a single byte came back is no failure of the request, which
        goes out once more on a fresh one. What is not safe to repeat goes out on a fresh one at once.
        """
        self._active[address] += 1
        with ExitStack() as undo:
            undo.callback(self._leave, address)
            answer = await self._on_kept(address, request) if repeatable else None
            if answer is None:
                answer = await self._ask(await self._connect(address), request)
            undo.pop_all()
        return answer

    def done(self, address: str, connection: Connection) -> None:
        """The exchange is over: keep the connection if it is clean, else close it."""
        self._leave(address)
        idle = self._idle.setdefault(address, deque())
        if connection.reusable and len(idle) < self._options.idle_connections:
            connection.idle_since = asyncio.get_running_loop().time()
            idle.append(connection)
        else:
            connection.close()

    def sweep(self) -> None:
        """Close what has been idle too long, and forget engines that are gone."""
        oldest = asyncio.get_running_loop().time() - self._options.keep_alive
        for address, idle in list(self._idle.items()):
            while idle and (idle[0].idle_since < oldest or not idle[0].reusable):
                idle.popleft().close()
            if not idle:
                del self._idle[address]

    def close(self) -> None:
        """Close all that is idle."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()

    async def _on_kept(self, address: str, request: Request) -> Answer | None:
        connection = self._take(address)
        if connection is None:
            return None
        try:
            return await self._ask(connection, request)
        except UpstreamError as error:
            if error.kind != "broken" or connection.heard:
                raise
        self.repeats += 1
        return None

    async def _ask(self, connection: Connection, request: Request) -> Answer:
        with ExitStack() as undo:
            undo.callback(connection.close)
            head = await connection.request(*request, self._options.first_byte)
            undo.pop_all()
        return connection, head

    def _take(self, address: str) -> Connection | None:
        """The connection used last: the least likely to be stale."""
        idle = self._idle.get(address)
        oldest = asyncio.get_running_loop().time() - self._options.keep_alive
        while idle:
            connection = idle.pop()
            if connection.reusable and connection.idle_since >= oldest:
                return connection
            connection.close()
        return None

    def _leave(self, address: str) -> None:
        self._active[address] -= 1
        if not self._active[address]:
            del self._active[address]

    async def _connect(self, address: str) -> Connection:
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._options.connect):
                _, connection = await loop.create_connection(Connection, host.strip("[]"), int(port))
        except TimeoutError:
            raise UpstreamError(
                "connect_timeout", f"no connection within {self._options.connect:g} s"
            ) from None
        except (OSError, ValueError) as error:
            raise UpstreamError("refused", f"no connection: {error}") from None
        return connection
