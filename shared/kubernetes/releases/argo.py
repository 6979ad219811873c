"""What Argo CD makes of a commit: whether it is at it, and when to say that it will not be."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from shared.errors import Reject
from shared.kubernetes.kinds import KINDS, Kind, Ref
from shared.kubernetes.releases.application import ARGO_NAMESPACE
from shared.kubernetes.releases.health import Health, application_health
from shared.ports.clock import Clock
from shared.ports.cluster import Workload

PATIENCE_SECONDS = 1800.0  # where a workload has no deadline


class Reading(Protocol):
    """What is needed of the API: `shared.kubernetes.api.Api` has it."""

    def read(self, ref: Ref) -> dict[str, Any] | None: ...


class Argo:
    """Looked at while there is no Deployment yet; from then on the Deployment tells more."""

    def __init__(self, api: Reading, clock: Clock) -> None:
        self._api = api
        self._clock = clock

    def require(self, workload: Workload, committed: datetime) -> None:
        """committed: when its folder was last changed. Raises Reject where it has failed, or the deadline is over.

        Raises Retry where the API does not answer.
        """
        health = self._health(workload.name)
        if health.phase == "failed":
            raise Reject(f"Argo CD: {health.message}")
        limit = workload.limits.deadline_seconds or PATIENCE_SECONDS
        if health.phase != "ready" and (self._clock.now() - committed).total_seconds() > limit:
            why = health.message or f"it is {health.phase}, and says nothing more"
            raise Reject(f"Argo CD has not made it within {limit:g} s of its commit: {why}")

    def _health(self, name: str) -> Health:
        try:
            found = self._api.read(Ref(_application(), ARGO_NAMESPACE, name))
        except Reject as error:
            return Health(phase="pending", reason="Unread", message=str(error))
        if found is None:
            message = (
                f"there is no Application {name} in {ARGO_NAMESPACE}: has the root Application been applied?"
            )
            return Health(phase="pending", reason="Unknown", message=message)
        return application_health(found)


def _application() -> Kind:
    return next(kind for kind in KINDS if kind.kind == "Application")
