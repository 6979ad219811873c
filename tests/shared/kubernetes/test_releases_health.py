"""What Deployments and Applications say of a release, in a cluster's words."""

from __future__ import annotations

from typing import Any

import pytest

from shared.kubernetes.releases.health import Health, application_health, deployment_health

DEADLINE = {
    "type": "Progressing",
    "status": "False",
    "reason": "ProgressDeadlineExceeded",
    "message": "timed out",
}
QUOTA = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": "exceeded quota: tenant",
}


def deployment(
    *conditions: dict[str, str], replicas: int = 1, observed: int = 2, **status: int
) -> dict[str, Any]:
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": observed, "conditions": list(conditions), **status},
    }


@pytest.mark.parametrize(
    ("found", "phase", "reason", "message"),
    [
        ({"metadata": {"generation": 1}}, "pending", "Observed", "has not looked at it"),
        (deployment(observed=1, updatedReplicas=1, availableReplicas=1), "pending", "Observed", "not looked"),
        (deployment(), "pending", "", ""),
        (deployment(updatedReplicas=1), "running", "", ""),
        (deployment(availableReplicas=1), "pending", "", ""),
        (deployment(updatedReplicas=1, availableReplicas=1), "ready", "", ""),
        (deployment(updatedReplicas=3, availableReplicas=1), "ready", "", ""),
        (deployment(DEADLINE, updatedReplicas=1), "failed", "ProgressDeadlineExceeded", "timed out"),
        (deployment(QUOTA), "pending", "FailedCreate", "exceeded quota: tenant"),
        (deployment(replicas=0), "pending", "ScaledToZero", "no pod is asked for"),
    ],
)
def test_a_deployment(found: dict[str, Any], phase: str, reason: str, message: str):
    health = deployment_health(found)
    assert (health.phase, health.reason) == (phase, reason)
    assert message in health.message


def application(sync: str = "", health: str = "", **status: Any) -> dict[str, Any]:
    return {"status": {"sync": {"status": sync}, "health": {"status": health}} | status}


COMPARISON = {"type": "ComparisonError", "message": "failed to generate manifest: authentication required"}
WARNING = {"type": "OrphanedResourceWarning", "message": "there are others"}
BROKEN = [
    {"kind": "Service", "name": "a", "health": {"status": "Healthy"}},
    {"kind": "Deployment", "name": "a", "health": {"status": "Degraded", "message": "exceeded its deadline"}},
    {"kind": "ConfigMap", "name": "a"},
]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, Health(phase="pending")),
        (application("OutOfSync", "Missing"), Health(phase="pending")),
        (application("OutOfSync", "Healthy"), Health(phase="pending")),
        (application("Synced", "Progressing"), Health(phase="running")),
        (application("Synced", "Healthy", conditions=[WARNING]), Health(phase="ready")),
        (
            application("Unknown", "Healthy", conditions=[WARNING, COMPARISON]),
            Health(phase="pending", reason="ComparisonError", message=COMPARISON["message"]),
        ),
        (
            application(
                "OutOfSync", "Missing", operationState={"phase": "Failed", "message": "one object refused"}
            ),
            Health(phase="pending", reason="SyncFailed", message="one object refused"),
        ),
        (
            application("Synced", "Degraded", resources=BROKEN),
            Health(phase="failed", reason="Degraded", message="Deployment a: exceeded its deadline"),
        ),
        (
            application("Synced", "Degraded"),
            Health(phase="failed", reason="Degraded", message="Argo CD calls it degraded"),
        ),
    ],
)
def test_an_application(found: dict[str, Any], expected: Health):
    assert application_health(found) == expected
