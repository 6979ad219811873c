"""Reading from Artifactory, which may send a reader on to the store where it keeps its files."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from shared.errors import Reject, Retry

SECONDS = 60.0
AUTHORITY = "Authorization"
DIGEST = "X-Checksum-Sha256"
MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def opened(method: str, url: str, body: bytes | IO[bytes] | None, headers: Mapping[str, str]) -> Any:
    """The answer, of whom Artifactory sends a reader to: a store, by a signed URL, and so without our credentials.

    That store says nothing of the checksum, which Artifactory said with the redirect.
    """
    said = ""
    opener = urllib.request.build_opener(_NoRedirects())
    for _ in range(MOST_REDIRECTS + 1):
        request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)  # noqa: S310 - as configured
        try:
            answer = opener.open(request, timeout=SECONDS)
        except urllib.error.HTTPError as error:
            if error.code not in _REDIRECTS or method not in ("GET", "HEAD"):
                raise
            with error:
                said = said or str(error.headers.get(DIGEST, ""))
                url, headers = _followed(url, error.headers.get("Location", ""), headers)
            continue
        if said and DIGEST not in answer.headers:
            answer.headers[DIGEST] = said
        return answer
    raise Retry(f"{method}: more than {MOST_REDIRECTS} redirects, the last to {url.partition('?')[0]}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_words: Any) -> None:
        """None: we follow them, without our credentials."""


def _followed(url: str, place: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Where a redirect leads, and what is said there: who we are only to whom we spoke. Raises Reject."""
    target = urljoin(url, place)
    if urlsplit(target).scheme not in ("http", "https"):
        raise Reject(f"{url} redirects to {target.partition('?')[0]!r}, which is no address of a file")
    if urlsplit(target)[:2] == urlsplit(url)[:2]:
        return target, headers
    return target, {name: value for name, value in headers.items() if name != AUTHORITY}
