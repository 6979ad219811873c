"""What Google's clients raise becomes one of our words, with how to mend it."""

from __future__ import annotations

import pytest

from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown
from tests.emulators import there

if not there("google.api_core"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.api_core import exceptions as api
from google.auth.exceptions import RefreshError

from shared.google.errors import overtaken, reading, repeating, writing

CASES = [
    (api.AlreadyExists("there"), Retry, Conflict, "runs"),
    (
        api.FailedPrecondition("The query requires an index"),
        Retry,
        Conflict,
        "an index missing.*terraform apply",
    ),
    (api.Aborted("contended"), Retry, Conflict, "runs"),
    (api.InvalidArgument("too long"), Reject, Reject, "too long"),
    (api.PermissionDenied("no"), Retry, Retry, "have the role"),
    (api.Unauthenticated("who"), Retry, Retry, "credentials are not taken"),
    (RefreshError("expired"), Retry, Retry, "application-default login"),
    (api.NotFound("database"), Retry, Retry, "terraform apply"),
    (api.ResourceExhausted("quota"), Retry, Retry, "a quota is used up"),
    (ValueError("Cannot invoke RPC on closed channel!"), Retry, Retry, "connection is closed"),
    (api.DeadlineExceeded("late"), Retry, Unknown, "late"),
    (api.ServiceUnavailable("down"), Retry, Unknown, "down"),
    (api.RetryError("gave up", cause=None), Retry, Unknown, "gave up"),
    (api.InternalServerError("oops"), Retry, Unknown, "oops"),
]


@pytest.mark.parametrize(
    ("error", "read", "written", "told"), CASES, ids=lambda v: getattr(v, "__name__", None) or str(v)
)
def test_each(error: Exception, read: type[KuzniaError], written: type[KuzniaError], told: str):
    with pytest.raises(read, match=told) as caught, reading("runs/r-1"):
        raise error
    assert str(caught.value).startswith("runs/r-1: ")
    assert caught.value.__cause__ is error
    with pytest.raises(written), writing("runs/r-1"):
        raise error
    contended = isinstance(error, api.Aborted)
    with pytest.raises(Retry if written is Unknown or contended else written), repeating("runs/r-1"):
        raise error


@pytest.mark.parametrize(
    ("error", "first"),
    [
        (api.AlreadyExists("there"), True),
        (api.FailedPrecondition("old"), True),
        (api.NotFound("gone"), True),
        (api.Aborted("contended"), False),
        (api.ServiceUnavailable("down"), False),
    ],
)
def test_contention_does_not_say_that_another_was_first(error: Exception, first: bool):
    with pytest.raises(KuzniaError) as caught, repeating("runs/r-1"):
        raise error
    assert overtaken(caught.value) is first
