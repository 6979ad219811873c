"""A generic repository of JFrog Artifactory, over its REST API: deploy by checksum, checksum headers, AQL.

Credentials, as JFrog's own tools take them: JF_ACCESS_TOKEN (or JFROG_CLI_ACCESS_TOKEN), else JF_USER with
JF_PASSWORD, else the machine's line in `~/.netrc`.

Artifactory has no put that only creates. We look first, and look again afterwards; of two processes that create
one path in the same moment, the last may win. Where the token may deploy but not overwrite (the permission
Delete/Overwrite), the server itself refuses the second, which we take for what it is.
"""

from __future__ import annotations

import base64
import json
import netrc
import os
import shutil
import threading
import urllib.error
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlsplit

from shared.errors import Conflict, Reject, Retry
from shared.storage.redirects import AUTHORITY, DIGEST, opened
from shared.storage.versions import Head, kept_digest

TOKENS = ("JF_ACCESS_TOKEN", "JFROG_CLI_ACCESS_TOKEN")
_ALREADY = 403  # to deploy where one may not overwrite
_CONFLICT = 409  # a file where a folder is, or the reverse
_PARTIAL = 206


class _Forbidden(Retry):
    """403: no right to deploy; or, where something is already, none to overwrite."""


class ArtifactoryRepository:
    """See `shared.storage.remote.Transport`. base: `https://example.jfrog.io/artifactory`."""

    def __init__(self, base: str, repository: str) -> None:
        self._base = base.rstrip("/")
        self._repository = repository
        self._headers = credentials(urlsplit(base).hostname or "")
        self._creating = threading.Lock()

    def put(self, name: str, content: bytes, digest: str) -> None:
        """See `Transport.put`."""
        with self._asked("PUT", self._place(name, digest), content, {DIGEST: digest}):
            pass

    def put_new(self, name: str, content: bytes, digest: str) -> bool:
        """See `Transport.put_new`, and the module."""
        with self._creating:
            if self._digest(name) is not None:
                return False
            try:
                self.put(name, content, digest)
            except _Forbidden:
                if self._digest(name) is None:
                    raise
            return self._digest(name) == digest

    def put_file(self, name: str, source: Path, size: int, digest: str) -> None:
        """See `Transport.put_file`. Content that the server has somewhere already is not sent again."""
        headers = {DIGEST: digest}
        try:
            with self._asked("PUT", self._place(name, digest), b"", {**headers, "X-Checksum-Deploy": "true"}):
                return
        except FileNotFoundError:
            pass
        with (
            source.open("rb") as file,
            self._asked("PUT", self._place(name, digest), file, {**headers, "Content-Length": str(size)}),
        ):
            pass

    def get(self, name: str) -> tuple[bytes, str] | None:
        """See `Transport.get`."""
        try:
            with self._asked("GET", self._place(name)) as answer:
                return answer.read(), _kept(answer)
        except FileNotFoundError:
            return None

    def get_file(self, name: str, target: Path) -> str | None:
        """See `Transport.get_file`."""
        try:
            with self._asked("GET", self._place(name)) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file, 1024 * 1024)
                _require_all(name, answer, file.tell())
                return _kept(answer)
        except FileNotFoundError:
            return None

    def head(self, name: str) -> Head | None:
        """See `Readable.head`. Its version is its checksum."""
        try:
            with self._asked("HEAD", self._place(name)) as answer:
                checks = kept_digest({"sha256": _kept(answer).lower()})
                if not checks:
                    raise Reject(f"{self._place(name)} has no {DIGEST}: is it a repository of Artifactory?")
                return Head(
                    size=int(answer.headers["Content-Length"]), version=checks["sha256"], checks=checks
                )
        except FileNotFoundError:
            return None

    def part(self, name: str, head: Head, start: int, length: int) -> bytes:
        """See `Readable.part`."""
        span = {"Range": f"bytes={start}-{start + length - 1}"}
        try:
            with self._asked("GET", self._place(name), headers=span) as answer:
                if (_kept(answer) or head.version).lower() != head.version:
                    raise Conflict(name)
                if answer.status != _PARTIAL and start:
                    answer.read(start)  # a proxy on the way gives only all
                content: bytes = answer.read(length)
                return content
        except FileNotFoundError as error:
            raise Conflict(name) from error
        except OSError as error:
            raise Retry(f"{self._place(name)} was cut off: {error}") from error

    def names(self, prefix: str) -> Iterable[str]:
        """See `Transport.names`. One AQL query, which editions without the File List have too."""
        prefix = prefix.rstrip("/")
        folder, _, file = prefix.rpartition("/")
        wanted: list[dict[str, Any]] = [{"type": "file"}]
        if prefix:
            below = [{"path": {"$eq": prefix}}, {"path": {"$match": f"{prefix}/*"}}]
            itself = {"$and": [{"path": {"$eq": folder or "."}}, {"name": {"$eq": file}}]}
            wanted.append({"$or": [*below, itself]})
        criteria = json.dumps({"repo": {"$eq": self._repository}, "$and": wanted})
        query = f'items.find({criteria}).include("path","name")'
        headers = {"Content-Type": "text/plain"}
        with self._asked("POST", f"{self._base}/api/search/aql", query.encode(), headers) as answer:
            found = _parsed(answer)["results"]
        return [item["name"] if item["path"] == "." else f"{item['path']}/{item['name']}" for item in found]

    def remove(self, prefix: str, names: Sequence[str]) -> None:
        """See `Transport.remove`. The folder goes as a whole, and folders above it that are empty then."""
        if not names:
            return
        self._delete(prefix)
        folder = prefix.rpartition("/")[0]
        while folder and not self._children(folder):
            self._delete(folder)
            folder = folder.rpartition("/")[0]

    def sweep(self, now: datetime) -> int:  # noqa: ARG002 - other stores keep parts
        """Nothing: a deploy is one request, and the server throws away what did not come whole."""
        return 0

    def _delete(self, name: str) -> None:
        try:
            with self._asked("DELETE", self._place(name)):
                pass
        except FileNotFoundError:
            pass

    def _children(self, folder: str) -> Sequence[Any]:
        try:
            with self._asked(
                "GET", f"{self._base}/api/storage/{self._repository}/{_quoted(folder)}"
            ) as answer:
                children: Sequence[Any] = _parsed(answer).get("children", ())
                return children
        except FileNotFoundError:
            return ()

    def _digest(self, name: str) -> str | None:
        try:
            with self._asked("HEAD", self._place(name)) as answer:
                return _kept(answer)
        except FileNotFoundError:
            return None

    def _place(self, name: str, digest: str = "") -> str:
        """The address; when deploying with a property, by which it can be searched for."""
        properties = f";kuznia.sha256={digest}" if digest else ""
        return f"{self._base}/{self._repository}/{_quoted(name)}{properties}"

    @contextmanager
    def _asked(
        self,
        method: str,
        url: str,
        body: bytes | IO[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Any]:
        """The answer. Raises FileNotFoundError, Reject, Retry."""
        whole = {**self._headers, **(headers or {})}
        try:
            with opened(method, url, body, whole) as answer:
                yield answer
        except urllib.error.HTTPError as error:
            with error:
                raise _word(method, url, error) from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            raise Retry(f"{method} {url}: {error}") from error


def _kept(answer: Any) -> str:
    return str(answer.headers.get(DIGEST, ""))


def _require_all(name: str, answer: Any, received: int) -> None:
    """Raises Retry: who reads block by block is not told that the connection ended early."""
    promised = answer.headers.get("Content-Length")
    if promised is not None and int(promised) != received:
        raise Retry(f"{name} was cut off at {received} of {promised} bytes")


def _parsed(answer: Any) -> Any:
    """Raises Retry where it is no JSON: a proxy's page, most likely."""
    try:
        return json.load(answer)
    except ValueError as error:
        raise Retry(f"{answer.url} did not answer as Artifactory does: {error}") from error


def credentials(host: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Headers that say who asks; none where there are no credentials."""
    token = next((environ[name] for name in TOKENS if environ.get(name)), "")
    if token:
        return {AUTHORITY: f"Bearer {token}"}
    user, password = environ.get("JF_USER", ""), environ.get("JF_PASSWORD", "")
    if not user:
        user, password = _from_netrc(host)
    if not user:
        return {}
    return {AUTHORITY: "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def _from_netrc(host: str) -> tuple[str, str]:
    try:
        found = netrc.netrc().authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return "", ""
    return (found[0], found[2]) if found else ("", "")


def _quoted(name: str) -> str:
    return quote(name, safe="/@:+,=~")  # but `;`, which would begin a property


def _word(method: str, url: str, error: urllib.error.HTTPError) -> Exception:
    said = f"{method} {url}: {error.code} {error.reason}"
    if error.code == 404:
        return FileNotFoundError(url)
    if error.code == _ALREADY:
        return _Forbidden(f"{said} (may this token deploy, and overwrite?)")
    if error.code == _CONFLICT:
        return Reject(f"{said}: a file lies where a folder should be, or the checksum is another")
    if error.code == 401:
        return Retry(f"{said} (set JF_ACCESS_TOKEN)")
    return Reject(said) if error.code in (400, 413, 414) else Retry(said)
