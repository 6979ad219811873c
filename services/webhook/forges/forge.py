"""What a forge's webhooks are to us: who they are from, what they prove it by, and what was pushed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

NO_COMMIT = "0" * 40
BRANCH = "refs/heads/"
Headers = Mapping[str, str]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One reference that moved. ref: whole. before / after: commit ids, zeros where it begins or ends."""

    ref: str
    before: str
    after: str

    @property
    def branch(self) -> str:
        """Empty where it is no branch."""
        return self.ref.removeprefix(BRANCH) if self.ref.startswith(BRANCH) else ""


class Push(msgspec.Struct, frozen=True, kw_only=True):
    """repository: its full name, as the forge has it."""

    repository: str
    pusher: str
    changes: tuple[Change, ...]


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that claims to come from a forge. secrets: that hold now. headers: names in lower case."""

    secrets: tuple[bytes, ...]
    headers: Headers
    body: bytes
    now: datetime


class Forge(msgspec.Struct, frozen=True, kw_only=True):
    """One forge.

    needs: headers a delivery must have, each as its alternatives, the one that wins first. hint: told
    where the signature is missing. kind: what the delivery is of. delivery: the forge's own id of it.
    fault: why the claim is not proven, or empty. repository: whose delivery it says to be, of a parsed body.
    read: the push. Raises msgspec.DecodeError.
    """

    name: str
    title: str
    needs: tuple[tuple[str, ...], ...]
    pushes: frozenset[str]
    pings: frozenset[str]
    kind: Callable[[Headers], str]
    delivery: Callable[[Headers], str]
    fault: Callable[[Claim], str]
    repository: Callable[[Any], str]
    read: Callable[[bytes], Push]
    hint: Callable[[Headers], str] = lambda _headers: ""

    @property
    def path(self) -> str:
        """Where its deliveries go."""
        return f"/webhooks/{self.name}"


def first(headers: Headers, *names: str) -> str:
    """The first of these headers that is there, else empty."""
    return next((headers[name] for name in names if name in headers), "")


def by_header(*names: str) -> Callable[[Headers], str]:
    """`first` of these names, as a function of the headers."""
    return lambda headers: first(headers, *names)


def hex_proven(claim: Claim, signature: str, prefix: str = "") -> bool:
    """Whether `<prefix><hex>` is the HMAC-SHA256 of the raw body under one of the secrets; in constant time."""
    given = signature.encode()
    made = [
        (prefix + hmac.new(secret, claim.body, hashlib.sha256).hexdigest()).encode()
        for secret in claim.secrets
    ]
    return any(hmac.compare_digest(expected, given) for expected in made)


def unproven(header: str) -> str:
    """What is said of a signature that does not fit."""
    return f"{header} does not fit the body: check that both sides have the same secret"
