"""The checks passed and a training job was asked for.

said by: training · heard by: training, validation (which begins to measure the base model), console, status, outbound
subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

from events.parts import ModelVersion, Origin

NAME = "training-started"


class TrainingStarted(msgspec.Struct, frozen=True, kw_only=True):
    """job: name of the training job in the cluster."""

    run_id: str
    model: ModelVersion
    origin: Origin
    job: str
