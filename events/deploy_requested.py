"""An operator wants a version of a model to answer, in a way of their own choice.

said by: operators · heard by: deployment, outbound · subject: releases/<model_id>
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "deploy-requested"


class DeployRequested(msgspec.Struct, frozen=True, kw_only=True):
    """strategy: empty for the one of the version's `model.yaml`. weight: share of the first step of a canary,
    0 for the one that `model.yaml` says.
    """

    model_id: str
    version: str
    by: str
    reason: str = ""
    strategy: Literal["", "replace", "blue-green", "canary"] = ""
    weight: float = 0
