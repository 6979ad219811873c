"""An operator wants another version of a model to answer.

said by: operators · heard by: deployment, outbound · subject: releases/<model_id>
"""

from __future__ import annotations

import msgspec

NAME = "rollback-requested"


class RollbackRequested(msgspec.Struct, frozen=True, kw_only=True):
    """version: which one is to answer; empty means the one that answered before."""

    model_id: str
    version: str
    by: str
    reason: str = ""
