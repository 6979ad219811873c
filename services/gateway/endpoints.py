"""What the gateway offers, as data; everything else is a 404 in OpenAI's words."""

from __future__ import annotations

from typing import Literal

import msgspec

from services.gateway.errors import ApiError

MODELS = "/v1/models"
GET = frozenset({"GET", "HEAD"})
POST = frozenset({"POST"})
Kind = Literal["engine", "models", "model", "health", "ready", "metrics"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """label: in metrics and audit. repeatable: asking an engine twice changes nothing in the world."""

    label: str
    kind: Kind
    methods: frozenset[str] = GET
    repeatable: bool = False


def _engine(path: str, *, repeatable: bool = True) -> Endpoint:
    return Endpoint(label=path, kind="engine", methods=POST, repeatable=repeatable)


ENDPOINTS = {
    endpoint.label: endpoint
    for endpoint in (
        _engine("/v1/chat/completions"),
        _engine("/v1/completions"),
        _engine("/v1/embeddings"),
        _engine("/v1/responses", repeatable=False),  # an engine may keep it for later turns
        Endpoint(label=MODELS, kind="models"),
        Endpoint(label="/healthz", kind="health"),
        Endpoint(label="/readyz", kind="ready"),
        Endpoint(label="/metrics", kind="metrics"),
    )
}
MODEL = Endpoint(label=MODELS + "/{id}", kind="model")


def find(path: str, method: str) -> Endpoint:
    """The endpoint. Raises ApiError 404, or 405 with `Allow`."""
    endpoint = ENDPOINTS.get(path)
    if endpoint is None and path.startswith(MODELS + "/") and len(path) > len(MODELS) + 1:
        endpoint = MODEL
    if endpoint is None:
        offered = ", ".join(sorted(ENDPOINTS))
        raise ApiError(
            404, f"Unknown request URL: {method} {path[:200]}. There are {offered}.", code="unknown_url"
        )
    if method not in endpoint.methods:
        allow = ", ".join(sorted(endpoint.methods))
        raise ApiError(
            405,
            f"{method} is not allowed on {endpoint.label}; use {allow}.",
            code="method_not_allowed",
            headers=((b"allow", allow.encode()),),
        )
    return endpoint
