"""A checkpoint lies in the artifact store, complete and verified.

said by: the pod, after the upload's manifest
heard by: training, registration, outbound · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

from events.parts import Artifact, ModelVersion, Origin

NAME = "checkpoint-written"


class CheckpointWritten(msgspec.Struct, frozen=True, kw_only=True):
    """step: optimizer steps taken. final: these are the weights to register; then model and origin are there.

    metrics: what the trainer measured. runtime: versions, machine, seconds; what the card will say.
    """

    run_id: str
    step: int
    final: bool
    artifact: Artifact
    metrics: dict[str, float] = {}
    runtime: dict[str, str] = {}
    model: ModelVersion | None = None
    origin: Origin | None = None
