"""Registration: the model registry; what is known of a version, and which of the four statuses it has.

hears: checkpoint-written, model-validated, card-rendered, model-approved, model-rejected, model-deployed,
    deployment-failed, model-deprecated
says: model-registered
owns: models
never: touches weights, cards or engines
"""

from __future__ import annotations

from services.registration.decide import decide, key
from services.registration.effects import effects
from shared.service import Service

SERVICE = Service(
    name="registration",
    hears=(
        "checkpoint-written",
        "model-validated",
        "card-rendered",
        "model-approved",
        "model-rejected",
        "model-deployed",
        "deployment-failed",
        "model-deprecated",
    ),
    says=("model-registered",),
    owns="models",
    key=key,
    decide=decide,
    effects=effects,
)
