"""The model hub's REST, the two calls a loader needs: what a revision holds, and one file of it.

HF_ENDPOINT names the hub, a mirror or a proxy such as Artifactory's; HF_TOKEN, or the file that HF_TOKEN_PATH
names, opens what is gated. The token is shown to that endpoint alone, never to where it redirects to.
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from shared.errors import Reject, Retry

HUB = "https://huggingface.co"
SECONDS = 60.0
MOST_REDIRECTS = 5
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AUTHORITY = "Authorization"


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a revision. size: bytes, -1 where nobody said. sha256, git_sha1: of its content, or empty."""

    path: str
    size: int = -1
    sha256: str = ""
    git_sha1: str = ""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """What a revision holds. commit: its full id."""

    commit: str
    licence: str
    files: tuple[RemoteFile, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An opened file. start: the byte it begins with. told: what the hub says of the whole file."""

    body: IO[bytes]
    start: int
    told: RemoteFile


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_words: Any) -> None:
        """None: we follow them, without the token."""


class Hub:
    """One endpoint. Proxies and certificates are those of the environment (HTTPS_PROXY, SSL_CERT_FILE)."""

    def __init__(self, endpoint: str = HUB, token: str = "") -> None:
        """Raises Reject for an endpoint that is no URL."""
        self.endpoint = endpoint.rstrip("/")
        if urlsplit(self.endpoint).scheme not in ("http", "https") or not urlsplit(self.endpoint).netloc:
            raise Reject(f"HF_ENDPOINT is {endpoint!r}; it should be a URL such as {HUB}")
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirects())

    def listing(self, name: str, revision: str) -> Listing:
        """What a branch, tag or commit holds now. name: of a model, or `datasets/<organisation>/<name>`.

        Raises Reject (no such, or no right), Retry.
        """
        kind = "" if name.startswith("datasets/") and name.count("/") == 2 else "models/"
        url = f"{self.endpoint}/api/{kind}{name}/revision/{quote(revision, safe='')}?blobs=true"
        what = f"{name} at revision {revision!r}"
        with self._open(url, {}, what) as (answer, _):
            try:
                told = json.load(answer)
                commit, files = str(told["sha"]), tuple(_file(entry) for entry in told["siblings"])
            except (ValueError, KeyError, TypeError) as error:
                raise Retry(f"{url} did not answer as a model hub does: {error!r}") from error
        if not _COMMIT.fullmatch(commit) or (_COMMIT.fullmatch(revision) and commit != revision):
            raise Reject(
                f"{what}: {self.endpoint} answers with commit {commit!r}, which is not what was asked"
            )
        return Listing(commit=commit, licence=_licence(told), files=files)

    @contextmanager
    def file(self, name: str, commit: str, path: str, start: int = 0) -> Iterator[Answer]:
        """A file from this byte on, or from 0 where the server gives only all. Raises Reject, Retry.

        Raises EOFError where it has no such byte: all of it was there already, or what was there was too long.
        """
        url = f"{self.endpoint}/{name}/resolve/{commit}/{quote(path)}"
        what = f"{path} of {name} at {commit[:12]}"
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._open(url, headers, what) as (answer, first):
            served = first.get("X-Repo-Commit", commit)
            if served != commit:
                raise Reject(f"{what}: {self.endpoint} serves it from commit {served}, which is another")
            begins = start if answer.status == 206 else 0
            if begins and not str(answer.headers.get("Content-Range", "")).startswith(f"bytes {start}-"):
                raise Retry(f"{what}: asked from byte {start} on, and got another part")
            yield Answer(body=answer, start=begins, told=_told(path, first, answer.headers, begins))

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str], what: str) -> Iterator[tuple[Any, Message]]:
        """The last answer, and the headers of the first: what the hub says of a file stands on its redirect."""
        first: Message | None = None
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._asked(url, headers, what)
            first = first or answer.headers
            if answer.status not in _REDIRECTS:
                with answer:
                    yield answer, first
                return
            answer.close()
            url = urljoin(url, answer.headers.get("Location", ""))
        raise Retry(f"{what}: more than {MOST_REDIRECTS} redirects, the last to {url}")

    def _asked(self, url: str, headers: Mapping[str, str], what: str) -> Any:
        """What is served there, or where it says to look."""
        try:
            return self._opener.open(self._request(url, headers), timeout=SECONDS)
        except urllib.error.HTTPError as error:
            if error.code in _REDIRECTS:
                return error
            with error:
                raise self._word(what, url, error) from error
        except (OSError, HTTPException) as error:
            raise Retry(f"{what} cannot be had from {self.endpoint}: {error}") from error

    def _request(self, url: str, headers: Mapping[str, str]) -> urllib.request.Request:
        if urlsplit(url).scheme not in ("http", "https"):
            raise Reject(f"{self.endpoint} redirects to {url!r}, which is no address of a file")
        request = urllib.request.Request(url, headers={"User-Agent": "kuznia", **headers})  # noqa: S310 - see above
        if self._token and self._ours(url):
            request.add_header(_AUTHORITY, f"Bearer {self._token}")
        return request

    def _word(self, what: str, url: str, error: urllib.error.HTTPError) -> Exception:
        code = error.code
        told = f"{what}: {code} {error.headers.get('X-Error-Message') or error.reason}"
        whose = "the token of HF_TOKEN or HF_TOKEN_PATH is not enough" if self._token else "no token is set"
        if code == 416:
            return EOFError(what)
        if not self._ours(url) or code == 429 or code >= 500:  # a link to a store may have run out meanwhile
            return Retry(f"{told} ({urlsplit(url).hostname})", _seconds(error.headers.get("Retry-After")))
        mend = {
            401: f"it is private, gated, or not there at all, and {whose}: set HF_TOKEN or HF_TOKEN_PATH",
            403: f"{whose}: accept the model's terms on its page at {self.endpoint}, with the token's account",
            404: f"{self.endpoint} has no such model (or data set), revision or file: are they spelt as there?",
            400: "the name or the revision is none",
            410: "it was taken away",
        }
        return Reject(f"{told}: {mend[code]}") if code in mend else Retry(told)

    def _ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self.endpoint)[:2]


def from_environment(environ: Mapping[str, str] = os.environ) -> Hub:
    """The hub that the environment names. Raises Reject."""
    return Hub(environ.get("HF_ENDPOINT") or HUB, token(environ))


def token(environ: Mapping[str, str] = os.environ) -> str:
    """HF_TOKEN, else what the file of HF_TOKEN_PATH holds; empty where neither is set. Raises Reject."""
    if environ.get("HF_TOKEN"):
        return environ["HF_TOKEN"].strip()
    path = environ.get("HF_TOKEN_PATH")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Reject(f"HF_TOKEN_PATH is {path!r}, which cannot be read: {error}") from error


def _file(entry: Mapping[str, Any]) -> RemoteFile:
    large = entry.get("lfs") or {}
    return RemoteFile(
        path=str(entry["rfilename"]),
        size=int(large.get("size", entry.get("size", -1))),
        sha256=str(large.get("sha256", "")),
        git_sha1="" if large else str(entry.get("blobId", "")),
    )


def _told(path: str, first: Message, last: Message, begins: int) -> RemoteFile:
    """From headers, for mirrors whose list says less: 64 hex digits are a SHA-256, 40 are Git's id of a blob."""
    said = last.get("X-Checksum-Sha256") or first.get("X-Linked-Etag") or first.get("ETag") or ""
    tag = str(said).removeprefix("W/").strip('"').lower()
    hexadecimal = bool(re.fullmatch(r"[0-9a-f]*", tag))
    length = first.get("X-Linked-Size") or last.get("Content-Length")
    whole = -1 if length is None else int(length) + (0 if first.get("X-Linked-Size") else begins)
    return RemoteFile(
        path=path,
        size=whole,
        sha256=tag if hexadecimal and len(tag) == 64 else "",
        git_sha1=tag if hexadecimal and len(tag) == 40 else "",
    )


def _licence(told: Mapping[str, Any]) -> str:
    card = told.get("cardData") or {}
    tags = (
        str(tag).removeprefix("license:") for tag in told.get("tags", ()) if str(tag).startswith("license:")
    )
    return str(card.get("license_name") or card.get("license") or next(tags, ""))


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.strip().isdecimal() else None
