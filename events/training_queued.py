"""A run waits until it may train: every slot that it could have is taken, or its tenant's hours are used up.

said by: training · heard by: training, status, outbound · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

NAME = "training-queued"


class TrainingQueued(msgspec.Struct, frozen=True, kw_only=True):
    """job: which it waits to start. place: 1 is next, of `waiting`. why: for a person.

    patient: it asks again by itself after a while, whoever else may call it.
    """

    run_id: str
    job: str
    place: int
    waiting: int
    why: str
    patient: bool
