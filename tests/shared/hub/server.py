"""A small model hub: its documented REST, with large files on another address, as the real one has them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LATER = "89abcdef0123456789abcdef0123456789abcdef"
NAME = "acme/small"
WEIGHTS = bytes(range(256)) * 4096
FILES: Mapping[str, bytes] = {
    "model.safetensors": WEIGHTS,
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b'{"version": "1.0"}',
    "chat_template.jinja": b"{{ messages }}",
    "LICENSE": b"Apache",
    "README.md": b"# Small",
    "pytorch_model.bin": b"a pickle",
    "modeling_small.py": b"print('run')",
    "onnx/model.onnx": b"another form",
    ".gitattributes": b"*.safetensors filter=lfs",
}
Word = Callable[["Handler", str], bool]


class FakeHub:
    """refs: branch or tag -> commit. token: asked for where not empty. trouble: may answer a path in our place.

    store: where large files lie, another address (scheme, host, port). asked: (method path, headers) of both.
    """

    def __init__(self, files: Mapping[str, bytes] = FILES) -> None:
        self.files = dict(files)
        self.refs = {"main": COMMIT, "v1.0": COMMIT}
        self.token = ""
        self.blobs = True
        self.trouble: list[Word] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._servers = [_serve(self, Handler), _serve(self, StoreHandler)]
        self.endpoint, self.store = (f"http://127.0.0.1:{one.server_port}" for one in self._servers)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


def _serve(hub: FakeHub, handler: type[Handler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {"hub": hub}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


class Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.hub.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        path = urlsplit(self.path).path
        for word in list(self.hub.trouble):
            if word(self, path):
                return
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.fail(401, "RepoNotFound", "Repository Not Found")
            return
        self.route(path)

    def route(self, path: str) -> None:
        if found := re.fullmatch(r"/(?:proxy/)?api/(?:models|datasets)/([^/]+/[^/]+)/revision/([^/]+)", path):
            self.listing(found[1], unquote(found[2]))
        elif found := re.fullmatch(r"/(?:proxy/|datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.file(found[1], found[2], unquote(found[3]))
        else:
            self.fail(404, "EntryNotFound", "Not Found")

    def listing(self, name: str, revision: str) -> None:
        commit = self.hub.refs.get(revision, revision)
        if name != NAME or commit not in self.hub.refs.values():
            self.fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        siblings = [self.entry(path, content) for path, content in self.hub.files.items()]
        body = {"id": name, "sha": commit, "siblings": siblings, "cardData": {"license": "apache-2.0"}}
        self.answer(200, json.dumps(body).encode())

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        if not self.hub.blobs:
            return {"rfilename": path}
        known: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_id(content)}
        if path.endswith(".safetensors"):
            known["lfs"] = {
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 130,
            }
        return known

    def file(self, name: str, commit: str, path: str) -> None:
        content = self.hub.files.get(path)
        if name != NAME or content is None:
            self.fail(404, "EntryNotFound", "Entry not found")
            return
        told = {"X-Repo-Commit": commit, "ETag": f'"{git_id(content)}"'}
        if path.endswith(".safetensors"):
            digest = hashlib.sha256(content).hexdigest()
            told |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            self.answer(302, b"", {**told, "Location": f"{self.hub.store}/signed/{path}?Expires=1"})
        else:
            self.content(content, told)

    def content(self, content: bytes, told: Mapping[str, str]) -> None:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not found:
            self.answer(200, content, told)
        elif int(found[1]) >= len(content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        else:
            start = int(found[1])
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], {**told, "Content-Range": span})

    def fail(self, status: int, code: str, message: str, **headers: str) -> None:
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message, **more})

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def cut(self, body: bytes, sent: int) -> None:
        """Promise all, give so many bytes, hang up."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = True

    def log_message(self, *_words: Any) -> None:
        pass


class StoreHandler(Handler):
    """Where links lead: it wants no token, and must not be shown one."""

    def route(self, path: str) -> None:
        content = self.hub.files.get(unquote(path.removeprefix("/signed/")))
        if content is None:
            self.fail(404, "", "no such key")
        else:
            self.content(content, {})

    def do_GET(self) -> None:
        token, self.hub.token = self.hub.token, ""
        try:
            super().do_GET()
        finally:
            self.hub.token = token


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def once(path: str, act: Callable[[Handler], None], times: int = 1) -> Word:
    """Trouble that befalls the first requests whose path ends so."""
    left = [times]

    def word(handler: Handler, asked: str) -> bool:
        if not asked.endswith(path) or not left[0]:
            return False
        left[0] -= 1
        act(handler)
        return True

    return word


@contextmanager
def running(files: Mapping[str, bytes] = FILES) -> Iterator[FakeHub]:
    hub = FakeHub(files)
    try:
        yield hub
    finally:
        hub.close()
