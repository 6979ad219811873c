"""An operator wants a failed run to be tried again, from its newest complete checkpoint.

said by: operators · heard by: training, status, outbound · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

NAME = "retry-requested"


class RetryRequested(msgspec.Struct, frozen=True, kw_only=True):
    """by: who asks. A push of the same content is the same run, so a retry has to be asked for by name."""

    run_id: str
    by: str
    reason: str = ""
