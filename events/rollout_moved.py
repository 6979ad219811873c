"""A canary began, got another share of the requests, or came to its end; with the figures it was judged by.

said by: deployment · heard by: outbound, console · subject: releases/<model_id>
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "rollout-moved"


class RolloutMoved(msgspec.Struct, frozen=True, kw_only=True):
    """rollout: its number among those of the model. version: the canary; against: the one that was live then.

    what: `unjudged` where the platform's judge could not do its work; `superseded` where another version took its
    place. weight: share of the requests from now on. step: from 1; of: how many there are. by: a person, or
    `deployment`. figures: version -> what was measured in the step that is over: requests, errors, error_rate,
    ttft_p95 and latency_p95 in seconds, and score.
    """

    model_id: str
    rollout: int
    version: str
    against: str
    what: Literal[
        "began", "stepped", "held", "unjudged", "paused", "resumed",
        "finished", "went-back", "aborted", "superseded",
    ]  # fmt: skip
    weight: float
    step: int
    of: int
    by: str
    reason: str
    figures: dict[str, dict[str, float]] = {}
