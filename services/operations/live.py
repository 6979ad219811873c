"""The doctor of a running platform."""

from __future__ import annotations

from collections.abc import Callable

from services.discovery import discover
from services.operations.checks import render_metrics
from shared.local.assembly import LocalPorts
from shared.operations.doctor import Patient
from shared.ports.cluster import Cluster


def doctor_of(local: LocalPorts, cluster: Cluster) -> Callable[[], str]:
    """Examines these ports each time it is called; Prometheus text. Raises Retry where the store cannot be read."""
    services = discover()

    def metrics() -> str:
        return render_metrics(
            Patient(
                services=services,
                store=local.store,
                bus=local.bus,
                operations=local.operations,
                artifacts=local.artifacts,
                workloads=cluster.list(),
                now=local.clock.now(),
            )
        )

    return metrics
