"""Training: a committed config becomes one run, and the run its weights.

hears: config-committed, training-progressed, checkpoint-written, training-finished, workload-changed,
    retry-requested
says: training-started, training-finished (where the pod could not)
owns: runs, claims
never: reads Git or weights itself; the pod does
"""

from __future__ import annotations

from services.training.decide import decide, key
from services.training.effects import effects
from shared.service import Service

SERVICE = Service(
    name="training",
    hears=(
        "config-committed",
        "training-progressed",
        "checkpoint-written",
        "training-finished",
        "workload-changed",
        "retry-requested",
    ),
    says=("training-started", "training-finished"),
    owns="runs",
    key=key,
    decide=decide,
    effects=effects,
)
