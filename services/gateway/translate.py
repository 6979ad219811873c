"""What an engine says when it fails, in OpenAI's words; what already is in them passes as it is."""

from __future__ import annotations

from typing import Any

import msgspec

from services.gateway.connection import UpstreamError
from services.gateway.errors import ApiError, unavailable

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
OURS = frozenset({b"date", b"server", b"set-cookie", b"x-request-id", b"content-length"})
_DROPPED = HOP_BY_HOP | OURS
_LONGEST = 2000


def passed_on(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
    """The engine's headers that concern the client; those that `Connection` names concern this hop alone."""
    named = b",".join(value for name, value in headers if name == b"connection").lower().split(b",")
    dropped = _DROPPED | {name.strip() for name in named}
    return tuple(
        (name, value) for name, value in headers if name not in dropped and not name.startswith(b"x-kuznia-")
    )


def no_answer(error: UpstreamError, retry_after: int) -> ApiError:
    """The engine gave none."""
    if error.kind == "refused":
        return unavailable("The model's engine cannot be reached at the moment.", retry_after)
    if error.kind in {"timeout", "connect_timeout"}:
        return ApiError(504, f"The model's engine took too long: {error}.", code="engine_timeout")
    return ApiError(502, f"The model's engine failed: {error}.", code="engine_failed")


def refusal(status: int, body: bytes, path: str) -> ApiError | None:
    """An engine's error answer as ours; None where its body is in OpenAI's shape already."""
    if status in {401, 403}:
        return ApiError(
            502,
            "The model's engine does not take the gateway's key; tell the operator.",
            code="engine_refused_key",
        )
    said = _decoded(body)
    if isinstance(said.get("error"), dict):
        return _not_loaded() if _lacks_model(status, said["error"]) else None
    if status in {404, 405}:
        return ApiError(
            404, f"This model's engine does not offer {path}.", code="unsupported_endpoint", param="model"
        )
    return ApiError(status, _message(said) or f"The model's engine answered {status}.", code="engine_error")


def _lacks_model(status: int, error: dict[str, Any]) -> bool:
    """The word of vLLM for a model that it was not told of."""
    return status == 404 and error.get("type") == "NotFoundError" and error.get("param") in (None, "model")


def _not_loaded() -> ApiError:
    """The client asked for the right one: the engine has just started, and loads its adapters one by one."""
    return ApiError(503, "The model's engine has not loaded it yet, or no longer.", code="model_not_ready")


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _message(said: dict[str, Any]) -> str:
    """`detail` is FastAPI's word, a text or a list of faults; `message` that of older vLLM."""
    found = said.get("detail") or said.get("message") or ""
    text = found if isinstance(found, str) else msgspec.json.encode(_without_input(found)).decode()
    return text[:_LONGEST]


def _without_input(found: Any) -> Any:
    """A fault of FastAPI repeats the client's input, which may be a whole prompt."""
    if isinstance(found, list):
        return [_without_input(fault) for fault in found]
    if isinstance(found, dict):
        return {key: value for key, value in found.items() if key not in {"input", "ctx", "url"}}
    return found
