"""What Google's clients raise becomes one of our words, with how to mend it."""

from __future__ import annotations

import pytest

from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown
from tests.emulators import there

if not there("google.api_core"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from google.api_core import exceptions as api
from google.auth.exceptions import RefreshError

from shared.google.errors import reading, repeating, writing

CASES = [
    (api.AlreadyExists("there"), Conflict, Conflict, "runs"),
    (api.FailedPrecondition("old"), Conflict, Conflict, "runs"),
    (api.Aborted("contended"), Conflict, Conflict, "runs"),
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
    with pytest.raises(read), repeating("runs/r-1"):
        raise error
