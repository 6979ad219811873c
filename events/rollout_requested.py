"""An operator takes a hand in a canary that is under way.

said by: operators · heard by: deployment, outbound · subject: releases/<model_id>
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "rollout-requested"


class RolloutRequested(msgspec.Struct, frozen=True, kw_only=True):
    """version: the canary that the operator saw; the word is about no other.

    action pause: no further step by itself. resume: steps again. promote: all traffic, now. abort: none, now.
    """

    model_id: str
    version: str
    action: Literal["pause", "resume", "promote", "abort"]
    by: str
    reason: str = ""
