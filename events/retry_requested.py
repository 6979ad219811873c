"""An operator wants a failed run to be tried again, from its newest complete checkpoint.

said by: operators · heard by: training, status, outbound · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

NAME = "retry-requested"


class RetryRequested(msgspec.Struct, frozen=True, kw_only=True):
    """by: who asks. A push of the same content is the same run, so a retry has to be asked for by name.

    budget_hours: GPU hours of the run from now on, with those that it has used; None leaves its budget as it is.
    """

    run_id: str
    by: str
    reason: str = ""
    budget_hours: float | None = None
