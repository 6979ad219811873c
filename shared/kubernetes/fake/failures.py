"""What an API server answers where it cannot do what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Failure(Exception):
    """code: of HTTP. retry_after: seconds, as a header."""

    def __init__(self, code: int, message: str, *, reason: str = "", retry_after: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS.get(code, "Unknown")
        self.retry_after = retry_after

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        details = {"retryAfterSeconds": self.retry_after} if self.retry_after else {}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        }


def absent(plural: str, name: str) -> Failure:
    """404."""
    return Failure(404, f'{plural} "{name}" not found')


def exists(plural: str, name: str) -> Failure:
    """409 of a creation."""
    return Failure(409, f'{plural} "{name}" already exists', reason="AlreadyExists")


def stale(plural: str, name: str) -> Failure:
    """409 of a write."""
    return Failure(
        409,
        f'Operation cannot be fulfilled on {plural} "{name}": the object has been modified; '
        "please apply your changes to the latest version and try again",
    )


def invalid(kind: str, name: str, faults: Sequence[str]) -> Failure:
    """422, all faults at once."""
    return Failure(422, f'{kind} "{name}" is invalid: {"; ".join(faults)}')


def gone(asked: int, oldest: int) -> Failure:
    """410: what is asked for was compacted."""
    return Failure(410, f"too old resource version: {asked} ({oldest})")
