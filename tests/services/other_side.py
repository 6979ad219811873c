"""The other side: an HTTP server that keeps what it is sent and answers as it is told; and other systems' clocks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


class Asked(msgspec.Struct, frozen=True):
    """One request. headers: names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Told(msgspec.Struct, frozen=True):
    """One answer."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}


class OtherSide:
    """answer: what is told to a request; by default 200."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Told] = lambda _asked: Told()
        other = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                asked = Asked(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                other.asked.append(asked)
                told = other.answer(asked)
                body = b"" if told.body is None else json.dumps(told.body).encode()
                self.send_response(told.status)
                for name, value in {**told.headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815 - the standard library's own name

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"


@contextmanager
def listening(other: OtherSide) -> Iterator[OtherSide]:
    """Serves until the block ends."""
    thread = threading.Thread(target=other.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield other
    finally:
        other.server.shutdown()
        thread.join()
        other.server.server_close()
