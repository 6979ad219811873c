"""Validation: measures a tuned model and its base on a held-out set, and judges by the thresholds committed.

hears: training-started (to measure the base meanwhile), model-registered, evaluation-finished, workload-changed
says: model-validated
owns: evaluations
never: lets a model pass whose set could not be measured
"""

from __future__ import annotations

from services.validation.decide import decide, key
from services.validation.effects import effects
from shared.service import Service

SERVICE = Service(
    name="validation",
    hears=("training-started", "model-registered", "evaluation-finished", "workload-changed"),
    says=("model-validated",),
    owns="evaluations",
    key=key,
    decide=decide,
    effects=effects,
)
