"""What can go wrong with a request, in the one shape in which it is told."""

from __future__ import annotations

from shared.errors import KuzniaError


class ApiError(KuzniaError):
    """An answer that is an error. status: HTTP. what is wrong, where, and how to mend it."""

    def __init__(self, status: int, what: str, *, where: str, mend: str) -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.where = where
        self.mend = mend


def not_found(what: str, *, where: str, mend: str) -> ApiError:
    """404."""
    return ApiError(404, what, where=where, mend=mend)


def bad_request(what: str, *, where: str, mend: str) -> ApiError:
    """400."""
    return ApiError(400, what, where=where, mend=mend)
