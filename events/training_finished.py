"""A run came to its end, one way or another.

said by: the pod; training itself, where a job vanished without a word
heard by: training, console, status, outbound
subject: runs/<run_id>
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "training-finished"


class TrainingFinished(msgspec.Struct, frozen=True, kw_only=True):
    """cause: for a person, what went wrong and how to mend it; empty on success.

    attempt: counts starts of the same job; preempted is resumed, failed is not. job: which one it speaks of,
    where it is known: a retry has another.
    """

    run_id: str
    attempt: int
    outcome: Literal["succeeded", "failed", "preempted"]
    cause: str = ""
    metrics: dict[str, float] = {}
    runtime: dict[str, str] = {}
    job: str = ""
