"""Status: what became of a commit is written back to its forge, where the repository has a token for that.

hears: training-queued, training-started, training-finished, retry-requested, model-validated, model-rejected,
    model-deployed, deployment-failed
says: nothing
owns: statuses (one a run, and one a model version for what comes after its run)
never: holds anything up: a forge that refuses is told of in the log, and that is all
"""

from __future__ import annotations

from services.status.decide import decide, key
from services.status.effects import effects
from shared.service import Service

SERVICE = Service(
    name="status",
    hears=(
        "training-queued",
        "training-started",
        "training-finished",
        "retry-requested",
        "model-validated",
        "model-rejected",
        "model-deployed",
        "deployment-failed",
    ),
    says=(),
    owns="statuses",
    key=key,
    decide=decide,
    effects=effects,
)
