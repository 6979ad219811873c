"""The trainer moved on; at most one a second and at most about a hundred a run.

said by: the pod · heard by: training · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

NAME = "training-progressed"


class TrainingProgressed(msgspec.Struct, frozen=True, kw_only=True):
    """step / total_steps: optimizer steps. loss: training loss. eta_seconds: the trainer's own estimate.

    phase: what the pod is doing (`fetching`, `loading`, `training`, `uploading`).
    """

    run_id: str
    attempt: int
    phase: str
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    learning_rate: float | None = None
    epoch: float | None = None
    elapsed_seconds: float | None = None
    eta_seconds: float | None = None
