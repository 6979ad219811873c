"""Outbound: other systems that asked for it are told what happened, by signed webhooks.

hears: card-rendered, checkpoint-written, config-committed, deploy-requested, deployment-failed,
    evaluation-finished, model-approved, model-deployed, model-deprecated, model-registered, model-rejected,
    model-validated, push-received, quota-set, retry-requested, rollback-requested, rollout-moved,
    rollout-requested, training-finished, training-queued, training-started
says: nothing
owns: broadcasts (one an event that was heard), and with them deliveries (one an event and subscriber)
never: posts anything while it reacts; the courier does that, so that no slow receiver holds back the platform
"""

from __future__ import annotations

from services.outbound.decide import decide, key
from services.outbound.effects import effects
from shared.service import Service

SERVICE = Service(
    name="outbound",
    hears=(
        "card-rendered",
        "checkpoint-written",
        "config-committed",
        "deploy-requested",
        "deployment-failed",
        "evaluation-finished",
        "model-approved",
        "model-deployed",
        "model-deprecated",
        "model-registered",
        "model-rejected",
        "model-validated",
        "push-received",
        "quota-set",
        "retry-requested",
        "rollback-requested",
        "rollout-moved",
        "rollout-requested",
        "training-finished",
        "training-queued",
        "training-started",
    ),
    says=(),
    owns="broadcasts",
    key=key,
    decide=decide,
    effects=effects,
)
