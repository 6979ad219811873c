"""Asking another system's API: small JSON, short deadlines, and never led to another host with a token in hand."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from shared.errors import Retry

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 4 * 1024 * 1024
AGENT = "kuznia"


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """status: HTTP, whatever it is. headers: names in lower case. body: at most 4 MiB of it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body. Raises Retry where it is no JSON: a proxy's page, most likely."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            raise Retry(f"the answer ({self.status}) is no JSON: {error}") from error


def ask(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Reply:
    """One request with its reply. body: sent as JSON.

    Raises Retry where no answer came: the callers' requests may all be repeated.
    """
    content = None if body is None else msgspec.json.encode(body)
    known = {"User-Agent": AGENT, "Accept": "application/json", **headers}
    if content is not None:
        known["Content-Type"] = "application/json"
    request = urllib.request.Request(url, content, known, method=method)  # noqa: S310 - an operator named it
    opener = urllib.request.build_opener(_SameHost())
    try:
        with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            return _reply(response.status, response.headers, response)
    except urllib.error.HTTPError as error:
        with error:
            return _reply(error.code, error.headers, error)
    except (OSError, HTTPException) as error:
        raise Retry(f"{method} {url}: no answer: {error}") from error


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds that a `Retry-After` (seconds, or a date) asks for; None where there is none that reads."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a redirect of a GET only to where the request went; any other is the answer itself."""

    def redirect_request(  # noqa: PLR0917 - the standard library's own signature
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2] or req.get_method() not in ("GET", "HEAD"):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reply(status: int, headers: Any, body: Any) -> Reply:
    lower = {name.lower(): value for name, value in headers.items()}
    return Reply(status=status, headers=lower, body=body.read(MOST_BYTES))
