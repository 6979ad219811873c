"""Engines for the judging pod: real HTTP servers that answer as their table says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.shared.podkit.world import world

__all__ = ["engine", "world"]


class FakeEngine(ThreadingHTTPServer):
    """key: that it asks for. table: question -> answer. faults: statuses that it answers with first, in order."""

    daemon_threads = True

    def __init__(self, key: str, table: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.table = table
        self.faults: list[int] = []
        self.asked: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeEngine

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._answer(404, {})
        elif self.headers["Authorization"] != f"Bearer {self.server.key}":
            self._answer(401, {"detail": "wrong key"})
        elif self.server.faults:
            self._answer(self.server.faults.pop(0), {"detail": "busy"})
        else:
            self.server.asked.append(body)
            text = self.server.table.get(body["messages"][-1]["content"], "I do not know.")
            self._answer(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def engine() -> Iterator[Callable[..., FakeEngine]]:
    """Starts an engine: `engine(key, table)`."""
    servers: list[FakeEngine] = []

    def start(key: str, table: dict[str, str]) -> FakeEngine:
        server = FakeEngine(key, table)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
