"""What can go wrong with a request, as OpenAI clients expect to read it."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.errors import KuzniaError

Headers = tuple[tuple[bytes, bytes], ...]
INVALID = "invalid_request_error"
SERVER = "server_error"


class ApiError(KuzniaError):
    """An answer that is an error. The message says what is wrong and how to mend it."""

    def __init__(
        self, status: int, message: str, *, code: str, param: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.headers = headers

    @property
    def body(self) -> bytes:
        """`{"error": {message, type, param, code}}`."""
        kind = SERVER if self.status >= 500 else INVALID
        return error_body(str(self), kind=kind, code=self.code, param=self.param)


class StartingError(ApiError):
    """The model's engine is on its way. progress: how far, beside the error, for who wants to read it."""

    def __init__(self, message: str, retry_after: int, progress: dict[str, Any]) -> None:
        super().__init__(
            503, message, code="model_starting", headers=((b"retry-after", b"%d" % retry_after),)
        )
        self.progress = progress

    @property
    def body(self) -> bytes:
        """`{"error": …, "progress": {model, state, seconds, expected_seconds}}`."""
        return msgspec.json.encode({**msgspec.json.decode(super().body), "progress": self.progress})


class ClientGoneError(KuzniaError):
    """Nobody waits for the answer any more."""


def error_body(message: str, *, kind: str, code: Any = None, param: Any = None) -> bytes:
    """The one shape of an OpenAI error."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def invalid_key(message: str) -> ApiError:
    """Who asks is not known, or no longer."""
    return ApiError(401, message, code="invalid_api_key", headers=((b"www-authenticate", b"Bearer"),))


def model_not_found(name: str) -> ApiError:
    """It is not there, or it is somebody else's: the answer is the same."""
    return ApiError(
        404,
        f"The model {name[:200]!r} does not exist or you do not have access to it; "
        "GET /v1/models lists those you have.",
        code="model_not_found",
        param="model",
    )


def unavailable(message: str, retry_after: int, code: str = "engine_unavailable") -> ApiError:
    """Not now: worth another try soon."""
    return ApiError(503, message, code=code, headers=((b"retry-after", b"%d" % retry_after),))


def bad_body(message: str, param: str | None = None, code: str = "invalid_body") -> ApiError:
    """The request itself is wrong."""
    return ApiError(400, message, code=code, param=param)
