"""A light HTTP/1.1 host for pushes: a thread a connection, a C parser, and no more.

Handlers wait for a database, so each needs a thread anyway; where the connection has one already, nothing is
handed over from an event loop to a thread and back, which would cost more than all the rest of a push.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

import httptools

from shared.hosts.door import Answer

CONNECTIONS = 256
IDLE_SECONDS = 75.0
PAUSE_SECONDS = 0.1
LARGEST_BODY = 10 * 1024 * 1024  # bytes; what a message of Pub/Sub may have
LARGEST_HEAD = 64 * 1024
BLOCK = 64 * 1024
log = logging.getLogger("kuznia.host")
Handler = Callable[[str, str, Mapping[str, str], bytes], Answer]


class LightServer:
    """handler: (method, path, headers with lower-case names, body) -> answer; called by many threads."""

    def __init__(self, listener: socket.socket, handler: Handler) -> None:
        self._listener = listener
        self._handler = handler
        self._room = threading.Semaphore(CONNECTIONS)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._closing = threading.Event()

    def serve(self) -> None:
        """Until `close`; then the requests that are under way are answered."""
        self._listener.listen(CONNECTIONS)
        while not self._closing.is_set():
            self._room.acquire()
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                self._room.release()
                if not self._closing.is_set():
                    log.error("no connection could be taken: %s", error)  # too many open files, say
                    self._closing.wait(PAUSE_SECONDS)
                continue
            thread = threading.Thread(target=self._attend, args=[connection], name="push", daemon=True)
            with self._lock:
                self._open[connection] = thread
            thread.start()
        with self._lock:
            threads = list(self._open.values())
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Take no more connections, and no more requests on those that are open. From any thread, or a signal."""
        self._closing.set()
        with self._lock:
            for connection in self._open:
                _shut(connection, socket.SHUT_RD)
        _shut(self._listener, socket.SHUT_RDWR)
        self._listener.close()

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(IDLE_SECONDS)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._talk(connection)
        except (OSError, httptools.HttpParserError):
            pass  # who spoke has gone, or spoke no HTTP
        finally:
            with self._lock:
                del self._open[connection]
            self._room.release()

    def _talk(self, connection: socket.socket) -> None:
        while not self._closing.is_set():
            request = _Request()
            parser = httptools.HttpRequestParser(request)
            while not request.complete:
                block = connection.recv(BLOCK)
                if not block:
                    return
                parser.feed_data(block)
                if request.expects_continue():
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                if request.refusal:
                    connection.sendall(_encoded(request.refusal, last=True))
                    return
            answer = self._answer(parser.get_method().decode("latin-1"), request)
            last = self._closing.is_set() or not parser.should_keep_alive()
            connection.sendall(_encoded(answer, last=last))
            if last:
                return

    def _answer(self, method: str, request: _Request) -> Answer:
        try:
            return self._handler(method, request.path, request.headers, b"".join(request.body))
        except Exception:  # whatever one push does, the next must be answered; it comes again
            log.exception("push")
            return Answer(status=500, text="a fault of ours; its traceback is in the log")


class _Request:
    """What httptools calls back."""

    def __init__(self) -> None:
        self.path = ""
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.complete = False
        self.refusal: Answer | None = None
        self._size = 0
        self._head = 0
        self._continue = False

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("a second request before the first was answered")  # who does so is hung up on

    def on_url(self, url: bytes) -> None:
        self.path += str(url, "latin-1").partition("?")[0]

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value)
        if self._head > LARGEST_HEAD:
            self.refusal = Answer(status=431, text=f"the headers are longer than {LARGEST_HEAD} bytes")
        self.headers[str(name, "latin-1").lower()] = str(value, "latin-1")

    def on_headers_complete(self) -> None:
        self._continue = self.headers.get("expect", "").lower() == "100-continue"

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LARGEST_BODY:
            self.refusal = Answer(status=413, text=f"the body is longer than {LARGEST_BODY} bytes")
            self.body.clear()
        else:
            self.body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    def expects_continue(self) -> bool:
        """Whether the sender waits for a word before it sends the body; told once."""
        waits, self._continue = self._continue and not self.complete and not self._size, False
        return waits


def _encoded(answer: Answer, *, last: bool) -> bytes:
    body = answer.text.encode()
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    if answer.status != HTTPStatus.NO_CONTENT:
        lines += ["content-type: text/plain; charset=utf-8", f"content-length: {len(body)}"]
    if answer.retry_after:
        lines.append(f"retry-after: {answer.retry_after}")
    if last:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _shut(shared: socket.socket, how: int) -> None:
    with suppress(OSError):  # not connected any more
        shared.shutdown(how)
