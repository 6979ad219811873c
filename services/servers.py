"""Console with webhook on one port, gateway on another, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

from shared.errors import Reject

GRACE_SECONDS = 10
BACKLOG = 2048  # uvicorn's own


def bind(host: str, port: int, variable: str) -> socket.socket:
    """A bound socket; port 0 takes a free one. Raises Reject naming the port and the setting to change.

    It listens at once: who comes before the server is up waits in line, and is not turned away.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise Reject(
            f"port {port} on {host} cannot be had ({error.strerror}): stop what uses it,"
            f" or set {variable} to another port (0 takes a free one)"
        ) from error
    return listener


def address(listener: socket.socket) -> str:
    """`http://host:port` of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: two servers share one process, whose signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Servers:
    """ASGI applications, each on its own bound socket."""

    def __init__(self, applications: list[tuple[Any, socket.socket]]) -> None:
        self._pairs = [(_Server(_config(application)), listener) for application, listener in applications]

    async def serve(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; then no new connections, and a grace for those that are open."""
        tasks = [asyncio.create_task(server.serve(sockets=[listener])) for server, listener in self._pairs]
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for server, _ in self._pairs:
            server.should_exit = True
        waiting.cancel()
        await asyncio.gather(*tasks)


def _config(application: Any) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
