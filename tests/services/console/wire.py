"""The console on a real socket, and one who asks it."""

from __future__ import annotations

import http.client
import json
import socket
import threading

import msgspec
import uvicorn

from tests.servers import PromptServer


class Answer(msgspec.Struct):
    """What came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """A browser, or curl."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """One request; `if_none_match` is the header `if-none-match`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, headers=sent)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, body)


class Served:
    """An app on a free port of loopback, until closed."""

    def __init__(self, app) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=5)
        self._server = PromptServer(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)
        self._thread.start()
        self.client = Client(self._socket.getsockname()[1])

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self._socket.close()
