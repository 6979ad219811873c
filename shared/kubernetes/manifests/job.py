"""A Job: one pod, started again after a death that was not its own verdict."""

from __future__ import annotations

import math

from shared.kubernetes.manifests import labels
from shared.kubernetes.manifests.keys import mounted
from shared.kubernetes.manifests.labels import Object
from shared.kubernetes.manifests.needs import needs_of
from shared.kubernetes.manifests.pod import CONTAINER, template
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

QUEUE = "kueue.x-k8s.io/queue-name"
PREEMPTED = 75  # EX_TEMPFAIL: stopped on request, its state is saved
LOST_PEER = 76  # EX_PROTOCOL: another node of the run is gone
# Ends that are no verdict: those two, and any signal.
AGAIN = (PREEMPTED, LOST_PEER, *range(129, 160))


def job(workload: Workload, settings: KubernetesSettings) -> Object:
    """The Job of a workload. Raises Reject."""
    needs = needs_of(workload, settings)
    pod = mounted(template(workload, settings, needs), workload, settings)
    pod["spec"]["restartPolicy"] = "Never"
    spec: Object = {
        "backoffLimit": workload.limits.restarts,
        "podFailurePolicy": {"rules": [disrupted("Ignore"), *verdicts()]},
        "podReplacementPolicy": "Failed",  # never two trainers at once
        **deadline(workload),
        "ttlSecondsAfterFinished": settings.ttl_seconds,
        "template": pod,
    }
    return queued(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": labels.metadata(workload, settings),
            "spec": spec,
        },
        settings,
    )


def queued(manifest: Object, settings: KubernetesSettings) -> Object:
    """Where the cluster has a queue: it waits there, suspended, until Kueue finds it a place."""
    if settings.queue:
        manifest["metadata"]["labels"][QUEUE] = settings.queue
        manifest["spec"]["suspend"] = True
    return manifest


def deadline(workload: Workload) -> Object:
    """The limit over all its pods; none where it has no deadline."""
    seconds = math.ceil(workload.limits.deadline_seconds)
    return {"activeDeadlineSeconds": seconds} if seconds else {}


def disrupted(action: str) -> Object:
    """The rule for a pod that was taken away: its machine, or its place in favour of another."""
    return {"action": action, "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}


def on_codes(action: str, operator: str, *codes: int) -> Object:
    """A rule for exit codes of the container."""
    return {
        "action": action,
        "onExitCodes": {"containerName": CONTAINER, "operator": operator, "values": list(codes)},
    }


def verdicts() -> list[Object]:
    """What the pod itself gave as its verdict is final: it would say so again."""
    return [on_codes("FailJob", "NotIn", *AGAIN)]
