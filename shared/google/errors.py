"""What Google's clients raise, in our four words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions as api
from google.auth import exceptions as auth

from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown

_COMPARED = (api.AlreadyExists, api.FailedPrecondition)
_CONFLICTS = (*_COMPARED, api.Aborted)
_OVERTAKEN = (api.AlreadyExists, api.FailedPrecondition, api.NotFound)
_REFUSED = (api.InvalidArgument, api.OutOfRange)
_RETRIES: tuple[tuple[type[Exception], str], ...] = (
    (api.Forbidden, "does the service account have the role? infra/terraform grants them"),
    (api.Unauthorized, "the credentials are not taken: gcloud auth application-default login"),
    (
        auth.GoogleAuthError,
        "no valid credentials: gcloud auth application-default login, or workload identity",
    ),
    (api.NotFound, "is it made? terraform apply, or KUZNIA_GCP_CREATE=1"),
    (api.TooManyRequests, "a quota is used up"),
    (api.FailedPrecondition, "is an index missing, or still being built? terraform apply"),
    (ValueError, "the connection is closed"),  # so gRPC calls it
)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Raises Retry or Reject: a read that failed has changed nothing, and compares nothing."""
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError, ValueError) as error:
        raise _word(what, error, Retry, conflicts=()) from error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Raises Conflict, Retry, Reject, or Unknown where the answer never came."""
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError, ValueError) as error:
        raise _word(what, error, Unknown, conflicts=_CONFLICTS) from error


@contextmanager
def repeating(what: str) -> Iterator[None]:
    """As `writing`, of a write that is the same when repeated: where the answer never came, Retry.

    Where two were in each other's way, too: that says nothing of what is there.
    """
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError, ValueError) as error:
        raise _word(what, error, Retry, conflicts=_COMPARED) from error


def overtaken(word: KuzniaError) -> bool:
    """Whether a write with a precondition was refused because somebody else had been first."""
    return isinstance(word.__cause__, _OVERTAKEN)


def _word(
    what: str, error: Exception, unanswered: type[Retry | Unknown], *, conflicts: tuple[type[Exception], ...]
) -> KuzniaError:
    text = f"{what}: {_first_line(error)}"
    if isinstance(error, conflicts):
        return Conflict(text)
    if isinstance(error, _REFUSED):
        return Reject(text)
    for kind, hint in _RETRIES:
        if isinstance(error, kind):
            return Retry(f"{text} ({hint})")
    return unanswered(text)


def _first_line(error: Exception) -> str:
    message = getattr(error, "message", "") or str(error)
    return message.splitlines()[0] if message else type(error).__name__
