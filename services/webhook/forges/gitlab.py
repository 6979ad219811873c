"""GitLab: a secret token in the clear, or, where a signing token is set, a signature as of Standard Webhooks."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec

from services.webhook.forges.forge import Change, Claim, Forge, Headers, Push, by_header, first
from shared import standard_webhooks

SIGNATURE = "webhook-signature"
TOKEN = "x-gitlab-token"  # noqa: S105 - a header's name
SIGNED = ("webhook-id", "webhook-timestamp")
IDENTIFIERS = ("idempotency-key", "webhook-id", "x-gitlab-event-uuid")


class _Project(msgspec.Struct):
    path_with_namespace: str


class _Payload(msgspec.Struct):
    ref: str
    before: str
    after: str
    project: _Project
    user_name: str = ""


def _read(body: bytes) -> Push:
    payload = msgspec.json.decode(body, type=_Payload)
    change = Change(ref=payload.ref, before=payload.before, after=payload.after)
    return Push(repository=payload.project.path_with_namespace, pusher=payload.user_name, changes=(change,))


def _repository(parsed: Any) -> str:
    return str(parsed["project"]["path_with_namespace"])


def _delivery(headers: Headers) -> str:
    """Of a signed delivery the id that is signed with it."""
    return headers.get("webhook-id", "") if SIGNATURE in headers else first(headers, *IDENTIFIERS)


def _fault(claim: Claim) -> str:
    """A signature, where there is one, has to fit: a token beside it does not make up for it."""
    if SIGNATURE in claim.headers:
        return _signed(claim)
    given = claim.headers[TOKEN].encode()
    proven = any(hmac.compare_digest(secret, given) for secret in claim.secrets)
    return "" if proven else "X-Gitlab-Token is not the secret: check that both sides have the same"


def _signed(claim: Claim) -> str:
    missing = [name for name in SIGNED if name not in claim.headers]
    if missing:
        return f"webhook-signature came without {', '.join(missing)}"
    stamp = standard_webhooks.Stamp(
        id=claim.headers["webhook-id"],
        timestamp=claim.headers["webhook-timestamp"],
        signatures=claim.headers[SIGNATURE],
    )
    return standard_webhooks.fault(stamp, claim.body, claim.secrets, claim.now)


FORGE = Forge(
    name="gitlab",
    title="GitLab",
    needs=(("x-gitlab-event",), IDENTIFIERS, (SIGNATURE, TOKEN)),
    pushes=frozenset({"Push Hook", "Tag Push Hook"}),
    pings=frozenset(),
    kind=by_header("x-gitlab-event"),
    delivery=_delivery,
    fault=_fault,
    repository=_repository,
    read=_read,
)
