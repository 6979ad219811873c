"""Strong ETags: who has seen a revision already is told so, and nothing more."""

from __future__ import annotations

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response


def tagged(
    request: Request, body: BaseModel | bytes, tag: str, media_type: str = "application/json"
) -> Response:
    """200 with the body, or 304 where `If-None-Match` names this tag. tag: without quotes."""
    etag = f'"{tag}"'
    if matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers={"etag": etag})
    content = body.model_dump_json() if isinstance(body, BaseModel) else body
    return Response(content, media_type=media_type, headers={"etag": etag})


def matches(header: str, etag: str) -> bool:
    """Whether an `If-None-Match` names this tag (RFC 9110: `*`, or a list, compared weakly)."""
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or etag in named
