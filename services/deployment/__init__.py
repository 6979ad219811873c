"""Deployment: brings a gated version to answer behind the gateway, and takes the old one away.

hears: model-registered, model-validated, card-rendered, model-approved, model-rejected, rollback-requested,
    deploy-requested, rollout-requested, model-deprecated, workload-changed, traffic-measured, answers-judged,
    model-wanted, release-due
says: model-deployed, model-deprecated, deployment-failed, rollout-moved, release-due, adapter-wanted,
    adapter-dropped
owns: releases (one a model_id: which version is live, and where)
never: routes to a version whose validation, card or approval is not of exactly these weights
"""

from __future__ import annotations

from services.deployment.decide import decide, key
from services.deployment.effects import effects
from shared.service import Service

SERVICE = Service(
    name="deployment",
    hears=(
        "model-registered",
        "model-validated",
        "card-rendered",
        "model-approved",
        "model-rejected",
        "rollback-requested",
        "deploy-requested",
        "rollout-requested",
        "model-deprecated",
        "workload-changed",
        "traffic-measured",
        "answers-judged",
        "model-wanted",
        "release-due",
    ),
    says=(
        "model-deployed",
        "model-deprecated",
        "deployment-failed",
        "rollout-moved",
        "release-due",
        "adapter-wanted",
        "adapter-dropped",
    ),
    owns="releases",
    key=key,
    decide=decide,
    effects=effects,
)
