"""Who pushes: the OIDC token that Pub/Sub sends with each push, verified with Google's certificates."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping

import msgspec
from google.auth import exceptions, jwt

from shared.errors import Retry

CERTIFICATES = "https://www.googleapis.com/oauth2/v1/certs"
ISSUERS = ("https://accounts.google.com", "accounts.google.com")
FRESH_SECONDS = 3600.0
FETCH_SECONDS = 10.0
SKEW_SECONDS = 10
Certificates = Callable[[], Mapping[str, str]]


class Verifier:
    """audience: for whom a token must be. account: the service account whose it must be: Google makes anybody a token
    for any audience, so the audience alone proves nothing. certificates: id of the key -> PEM.
    """

    def __init__(self, audience: str, account: str, certificates: Certificates) -> None:
        self._audience = audience
        self._account = account
        self._certificates = certificates

    def fault(self, authorization: str) -> str:
        """What is wrong with an Authorization header; empty where nothing is. Raises Retry: no certificates."""
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token:
            return "the header Authorization has no bearer token"
        try:
            claims = jwt.decode(
                token, self._certificates(), audience=self._audience, clock_skew_in_seconds=SKEW_SECONDS
            )
        except (ValueError, exceptions.GoogleAuthError) as error:
            return f"the token is not valid: {str(error).splitlines()[0]}"
        if claims.get("iss") not in ISSUERS:
            return f"the token was issued by {claims.get('iss')!r}, and should be by {ISSUERS[0]}"
        if not (
            self._account and claims.get("email") == self._account and claims.get("email_verified") is True
        ):
            return f"the token is of {claims.get('email')!r}, and should be of {self._account}"
        return ""


class GoogleCertificates:
    """Fetched from Google, once an hour; should that fail, those known are good for another."""

    def __init__(self, url: str = CERTIFICATES) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._known: Mapping[str, str] = {}
        self._until = 0.0

    def __call__(self) -> Mapping[str, str]:
        """Id of the key -> PEM. Raises Retry where there are none."""
        with self._lock:
            if time.monotonic() < self._until:
                return self._known
            try:
                with urllib.request.urlopen(self._url, timeout=FETCH_SECONDS) as answer:  # noqa: S310 - https
                    self._known = msgspec.json.decode(answer.read(), type=dict[str, str])
            except (urllib.error.URLError, OSError, msgspec.DecodeError) as error:
                if not self._known:
                    raise Retry(f"Google's certificates cannot be had from {self._url}: {error}") from error
            self._until = time.monotonic() + FRESH_SECONDS
            return self._known
