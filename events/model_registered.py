"""A model version stands in the registry, as TRAINED.

said by: registration
heard by: validation, cards, deployment (which warms an engine), outbound · subject: models/<key>
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from events.parts import Artifact, ModelVersion, Origin

NAME = "model-registered"


class ModelRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """metrics / runtime: as training measured them."""

    model: ModelVersion
    artifact: Artifact
    origin: Origin
    registered_at: datetime
    metrics: dict[str, float] = {}
    runtime: dict[str, str] = {}
