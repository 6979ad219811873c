"""From a workload to what Kubernetes is asked for: plain dicts, and nothing is asked on the way."""

from __future__ import annotations

from shared.errors import Reject
from shared.kubernetes.manifests import network, server
from shared.kubernetes.manifests.job import job
from shared.kubernetes.manifests.jobset import jobset
from shared.kubernetes.manifests.labels import Object
from shared.kubernetes.manifests.needs import needs_of
from shared.kubernetes.manifests.workflow import workflow
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

__all__ = ["Object", "manifests"]


def manifests(workload: Workload, settings: KubernetesSettings) -> list[Object]:
    """All objects of a workload; the first is the main one, of the workload's own name.

    The main one of a job is created once. The others are the tenant's, or the server's, and may be applied again
    and again. Raises Reject where the workload cannot be run in this cluster.
    """
    if workload.kind == "server":
        own = [server.deployment(workload, settings), server.service(workload, settings)]
        return own + network.policies(workload, settings)
    return [_main(workload, settings), *network.policies(workload, settings)]


def _main(workload: Workload, settings: KubernetesSettings) -> Object:
    if settings.orchestrator == "argo":
        return workflow(workload, settings)
    if settings.orchestrator != "job":
        raise Reject(f"orchestrator is {settings.orchestrator!r}; it should be job or argo")
    make = jobset if needs_of(workload, settings).nodes > 1 else job
    return make(workload, settings)
