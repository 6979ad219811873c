"""How a release fares, as Argo CD's Application says it: it knows why nothing was made at all. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

Object = Mapping[str, Any]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """phase, reason, message: as in a cluster's `Status`."""

    phase: Literal["pending", "running", "ready", "failed"]
    reason: str = ""
    message: str = ""


def application_health(application: Object) -> Health:
    """ready: synced and healthy. failed: degraded. Else pending, with what Argo CD complains of, if it does."""
    status = application.get("status") or {}
    sync, health = (status.get(name, {}).get("status", "") for name in ("sync", "health"))
    if health == "Degraded":
        return Health(phase="failed", reason="Degraded", message=_unhealthy(status))
    if health == "Healthy" and sync == "Synced":
        return Health(phase="ready")
    if complaints := _complaints(status):
        return Health(
            phase="pending", reason=complaints[0][0], message="; ".join(text for _, text in complaints)
        )
    return Health(phase="running" if health == "Progressing" and sync == "Synced" else "pending")


def _complaints(status: Object) -> Sequence[tuple[str, str]]:
    found = [
        (condition["type"], condition.get("message", ""))
        for condition in status.get("conditions", ())
        if condition["type"].endswith("Error")
    ]
    operation = status.get("operationState", {})
    if operation.get("phase") in ("Failed", "Error"):
        found.append((f"Sync{operation['phase']}", operation.get("message", "")))
    return found


def _unhealthy(status: Object) -> str:
    """Which of its objects are not well, and why."""
    found = [
        f"{resource.get('kind')} {resource.get('name')}: {resource['health'].get('message') or 'degraded'}"
        for resource in status.get("resources", ())
        if resource.get("health", {}).get("status") == "Degraded"
    ]
    return "; ".join(found) or status.get("health", {}).get("message", "") or "Argo CD calls it degraded"
