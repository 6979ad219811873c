"""What Applications say of a release, in a cluster's words."""

from __future__ import annotations

from typing import Any

import pytest

from shared.kubernetes.releases.health import Health, application_health


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
