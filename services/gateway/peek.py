"""A look at what a request is routed by: `model`, `stream` and `user`; the rest of the body stays unread."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from services.gateway.errors import bad_body

T = TypeVar("T")
ROUTED_BY = ("model", "stream")


class Peek(msgspec.Struct, frozen=True):
    """model: as the client wrote it. stream: whether the answer comes in pieces. user: the end user, if a text."""

    model: str = ""
    stream: bool | None = None
    user: Any = None


_DECODER = msgspec.json.Decoder(Peek)
_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


def peek(body: bytes) -> Peek:
    """Read the two fields. Raises ApiError 400 naming the field at fault."""
    found = _read(_DECODER, body)
    if not found.model:
        message = "You must provide a model; GET /v1/models lists those you have."
        raise bad_body(message, "model", "missing_required_parameter")
    return found


def with_model(body: bytes, model: str) -> bytes:
    """The same body for an engine that knows the model by another name; the other fields keep their bytes.

    Raises ApiError 400 where a field's name is no text.
    """
    fields = _read(_RAW, body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


def _read(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise bad_body(
            f"The request body does not fit: {error}.", _field(str(error)), "invalid_type"
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_body(f"The request body is not valid JSON: {error}.", code="invalid_json") from None


def _field(message: str) -> str | None:
    return next((name for name in ROUTED_BY if f"`$.{name}`" in message), None)
