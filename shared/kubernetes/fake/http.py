"""The API server on a socket of this machine: HTTP/1.1, watches as chunks, a thread a connection."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import yaml

from shared.kubernetes.fake import protobuf
from shared.kubernetes.fake.failures import Failure
from shared.kubernetes.fake.objects import Object
from shared.kubernetes.fake.server import LOST, Answer, ApiServer, Request
from shared.kubernetes.fake.watching import Feed, Said

_encode = msgspec.json.Encoder().encode
_WAIT_SECONDS = 0.5
_LONGEST_WATCH = 1800.0
# Some clients take OpenAPI 2 only so encoded. This says `swagger: "2.0"` and knows no definition, so that nothing
# is checked there which is checked here.
_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
_NO_DEFINITIONS = b"\x0a\x032.0"


class HttpFront:
    """Serves until closed. moved: a condition over the lock of the core, notified of every change."""

    def __init__(self, server: ApiServer, moved: threading.Condition, port: int = 0) -> None:
        self._closing = threading.Event()
        self._http = _Server(("127.0.0.1", port), _handler(server, moved, self._closing))
        self._moved = moved
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.1,), name="kube-api", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is spoken to."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def close(self) -> None:
        """No request is answered any more; watches end."""
        self._closing.set()
        with self._moved:
            self._moved.notify_all()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of ours; others are shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(
    server: ApiServer, moved: threading.Condition, closing: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.server_side, Handler.moved, Handler.closing = server, moved, closing
    return Handler


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_side: ApiServer
    moved: threading.Condition
    closing: threading.Event

    def log_message(self, *arguments: object) -> None:
        """Requests are not told."""

    def _serve(self) -> None:
        if self.path.startswith("/openapi/v2") and _PROTOBUF in (self.headers.get("Accept") or ""):
            self._send(200, _NO_DEFINITIONS, _PROTOBUF.replace("@", "."))
            return
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        parts = urlsplit(self.path)
        content_type = (self.headers.get("Content-Type") or "application/json").split(";")[0]
        try:
            body = _decoded(raw, content_type)
        except Failure as failure:
            self._answer(Answer(failure.code, failure.status()))
            return
        request = Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            body=body,
            content_type=content_type,
            agent=self.headers.get("User-Agent") or "unknown",
        )
        with self.moved:
            answer = self.server_side.handle(request)
        if answer.feed:
            self._watch(answer.feed)
        else:
            self._answer(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def _answer(self, answer: Answer) -> None:
        if answer.code <= LOST:
            self.close_connection = True
            return
        text = isinstance(answer.body, str)
        content = answer.body.encode() if text else _encode(answer.body)
        self._send(answer.code, content, "text/plain" if text else "application/json", answer.retry_after)

    def _send(self, code: int, content: bytes, kind: str, retry_after: int = 0) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(content)

    def _watch(self, feed: Feed) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        until = time.monotonic() + (feed.seconds or _LONGEST_WATCH)
        while (left := until - time.monotonic()) > 0 and not self.closing.is_set():
            try:
                said = self._heard(feed, min(left, _WAIT_SECONDS))
            except Failure as failure:
                self._say([("ERROR", failure.status())])
                break
            self._say(said)
            if feed.dropped and said:
                return
        self._say(feed.farewell())
        self.wfile.write(b"0\r\n\r\n")

    def _heard(self, feed: Feed, wait: float) -> Sequence[Said]:
        with self.moved:
            said = feed.take()
            if not said:
                self.moved.wait(wait)
                said = feed.take()
            return said

    def _say(self, said: Sequence[tuple[str, Object]]) -> None:
        for kind, obj in said:
            line = _encode({"type": kind, "object": obj}) + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


def _decoded(raw: bytes, content_type: str) -> Any:
    if not raw:
        return None
    try:
        if content_type == protobuf.CONTENT_TYPE and raw.startswith(protobuf.MAGIC):
            return protobuf.decoded(raw)
        if content_type.endswith("yaml") and not raw.lstrip().startswith(b"{"):
            return yaml.safe_load(raw)
        return json.loads(raw)
    except (ValueError, yaml.YAMLError) as error:
        raise Failure(400, f"the body cannot be read: {error}") from error
