"""A small server that speaks the documented REST of Artifactory, as far as a generic repository needs it.

Deploy and deploy by checksum, properties as matrix parameters, checksum headers, storage info, AQL, folders that
stay when they are empty, and 409 where a file and a folder would have one name.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "secret"


class Repository:
    """files: path -> content. properties: path -> name -> value. overwrite: whether the token may."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.files: dict[str, bytes] = {}
        self.properties: dict[str, dict[str, str]] = {}
        self.folders: set[str] = set()
        self.overwrite = True
        self.sent = 0  # bytes of bodies that were deployed
        self.elsewhere = ""  # base URL of the store that readers are sent to
        self.cut = False  # end a download in the middle

    def deploy(self, path: str, content: bytes, properties: dict[str, str]) -> int:
        with self.lock:
            parents = {path.rsplit("/", n)[0] for n in range(1, path.count("/") + 1)}
            if path in self.folders or parents & set(self.files):
                return 409
            if path in self.files and not self.overwrite:
                return 403
            self.files[path], self.properties[path] = content, properties
            self.folders |= parents
            return 201

    def delete(self, path: str) -> int:
        with self.lock:
            gone = [
                known
                for known in (*self.files, *self.folders)
                if known == path or known.startswith(f"{path}/")
            ]
            for known in gone:
                self.files.pop(known, None)
                self.properties.pop(known, None)
                self.folders.discard(known)
            return 204 if gone else 404

    def children(self, path: str) -> list[dict[str, Any]] | None:
        if path not in self.folders:
            return None
        direct = {
            k[len(path) :].split("/")[1] for k in (*self.files, *self.folders) if k.startswith(f"{path}/")
        }
        return [{"uri": f"/{name}", "folder": f"{path}/{name}" in self.folders} for name in sorted(direct)]

    def search(self, criteria: dict[str, Any]) -> list[dict[str, str]]:
        with self.lock:
            items = [
                {"type": "file", "path": p.rpartition("/")[0] or ".", "name": p.rpartition("/")[2]}
                for p in self.files
            ]
        return [item for item in items if _matches(item | {"repo": "kuznia"}, criteria)]


def _matches(item: dict[str, str], criteria: dict[str, Any]) -> bool:
    for key, wanted in criteria.items():
        if key == "$and":
            held = all(_matches(item, one) for one in wanted)
        elif key == "$or":
            held = any(_matches(item, one) for one in wanted)
        elif isinstance(wanted, dict):
            ((operator, value),) = wanted.items()
            escaped = re.sub(r"\[", "[[]", value)
            held = item[key] == value if operator == "$eq" else fnmatch.fnmatchcase(item[key], escaped)
        else:
            held = item[key] == wanted
        if not held:
            return False
    return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    repository: Repository

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _path(self) -> tuple[str, dict[str, str]]:
        raw, *properties = self.path.removeprefix("/artifactory/kuznia/").split(";")
        return unquote(raw), dict(part.split("=", 1) for part in properties)

    def _allowed(self) -> bool:
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if not allowed:
            self._body()
            self._answer(401)
        return allowed

    def do_PUT(self) -> None:
        body = self._body()
        if not self._allowed():
            return
        path, properties = self._path()
        wanted = self.headers.get("X-Checksum-Sha256", "")
        if self.headers.get("X-Checksum-Deploy") == "true":
            known = [
                c for c in list(self.repository.files.values()) if hashlib.sha256(c).hexdigest() == wanted
            ]
            self._answer(self.repository.deploy(path, known[0], properties) if known else 404)
            return
        if wanted and hashlib.sha256(body).hexdigest() != wanted:
            self._answer(409)
            return
        self.repository.sent += len(body)
        self._answer(self.repository.deploy(path, body, properties))

    def do_GET(self) -> None:
        if not self._allowed():
            return
        if self.path.startswith("/artifactory/api/storage/kuznia/"):
            path = unquote(self.path.removeprefix("/artifactory/api/storage/kuznia/"))
            with self.repository.lock:
                children = self.repository.children(path)
            self._answer(404 if children is None else 200, json.dumps({"children": children}).encode())
            return
        content = self.repository.files.get(self._path()[0])
        if content is None:
            self._answer(404)
            return
        digest = hashlib.sha256(content).hexdigest()
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span:
            content = content[int(span[1]) : int(span[2]) + 1]
        if self.repository.elsewhere:
            place = f"{self.repository.elsewhere}/{self._path()[0]}?signed"
            self._answer(302, Location=place, X_Checksum_Sha256=digest)
        elif self.repository.cut:
            self.send_response(200)
            self.send_header("X-Checksum-Sha256", digest)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self._answer(206 if span else 200, content, X_Checksum_Sha256=digest)

    do_HEAD = do_GET  # noqa: N815

    def do_DELETE(self) -> None:
        if self._allowed():
            self._answer(self.repository.delete(self._path()[0]))

    def do_POST(self) -> None:
        body = self._body().decode()
        if not self._allowed():
            return
        found = re.fullmatch(r'items\.find\((.*)\)\.include\("path","name"\)', body)
        if self.path != "/artifactory/api/search/aql" or not found:
            self._answer(400)
            return
        results = self.repository.search(json.loads(found[1]))
        self._answer(200, json.dumps({"results": results, "range": {"total": len(results)}}).encode())


class Store(BaseHTTPRequestHandler):
    """Where readers are sent to: by a signed URL, and it refuses who shows credentials as well, as S3 does."""

    protocol_version = "HTTP/1.1"
    repository: Repository

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        name = self.path.removeprefix("/artifactory/").partition("?")[0]
        shown = self.headers.get("Authorization")
        content = b"two ways to say who asks" if shown else self.repository.files[unquote(name)]
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span:
            content = content[int(span[1]) : int(span[2]) + 1]
        self.send_response(400 if shown else 206 if span else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815


@contextmanager
def serving(repository: Repository, kind: type[BaseHTTPRequestHandler] = Handler) -> Iterator[str]:
    """Its base URL: `http://127.0.0.1:…/artifactory`."""
    handler = type("Handler", (kind,), {"repository": repository})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/artifactory"
        finally:
            server.shutdown()
            thread.join()
