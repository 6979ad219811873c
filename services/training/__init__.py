"""Training: a committed config becomes one run, and the run its weights.

hears: config-committed, training-queued, capacity-changed, budget-checked, training-started,
    training-progressed, checkpoint-written, training-finished, workload-changed, retry-requested
says: training-queued, training-started, training-finished (where the pod could not), capacity-changed,
    budget-checked
owns: runs, claims, slots
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
        "training-queued",
        "capacity-changed",
        "budget-checked",
        "training-started",
        "training-progressed",
        "checkpoint-written",
        "training-finished",
        "workload-changed",
        "retry-requested",
    ),
    says=("training-queued", "training-started", "training-finished", "capacity-changed", "budget-checked"),
    owns="runs",
    key=key,
    decide=decide,
    effects=effects,
)
