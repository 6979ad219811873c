"""A JobSet: one pod a node, ranks from the index, found by name through a headless Service that JobSet makes.

Nodes of one run live and die together: when one is gone, all are made anew and go on from the newest checkpoint.
"""

from __future__ import annotations

from shared.errors import Reject
from shared.identity import MAX_NAME
from shared.kubernetes.manifests import labels
from shared.kubernetes.manifests.job import (
    PREEMPTED,
    deadline,
    disrupted,
    on_codes,
    queued,
    verdicts,
)
from shared.kubernetes.manifests.labels import Object
from shared.kubernetes.manifests.needs import Needs, needs_of
from shared.kubernetes.manifests.pod import template, variable_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

ROLE = "node"  # of the one replicated Job
PORT = 29500  # torchrun's
INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
RESTARTS = "metadata.labels['jobset.sigs.k8s.io/restart-attempt']"
VERDICT = 2  # place of its rule among those for pods
_SUFFIX = 6  # `-xxxxx`, which Kubernetes adds to the name of a pod


def jobset(workload: Workload, settings: KubernetesSettings) -> Object:
    """The JobSet of a workload of several nodes. Raises Reject."""
    needs = needs_of(workload, settings)
    _check_name(workload, needs)
    metadata = labels.metadata(workload, settings)
    spec: Object = {
        "network": {"enableDNSHostnames": True, "subdomain": workload.name},
        "successPolicy": {"operator": "All"},
        "failurePolicy": _failure_policy(workload),
        "ttlSecondsAfterFinished": settings.ttl_seconds,
        "replicatedJobs": [{"name": ROLE, "replicas": 1, "template": _job(workload, settings, needs)}],
    }
    whole = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": spec,
    }
    return queued(whole, settings)


def child_of(name: str) -> str:
    """What JobSet calls the one Job of a JobSet of ours."""
    return f"{name}-{ROLE}-0"


def _job(workload: Workload, settings: KubernetesSettings, needs: Needs) -> Object:
    """The Indexed Job. It never restarts a pod by itself: a new node among old ones would wait for ever."""
    pod = template(workload, settings, needs)
    pod["spec"]["restartPolicy"] = "Never"
    pod["spec"]["containers"][0]["env"] += ranks(workload, needs)
    spec = {
        "completionMode": "Indexed",
        "completions": needs.nodes,
        "parallelism": needs.nodes,
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [disrupted("FailJob"), on_codes("FailJob", "In", PREEMPTED), *verdicts()]
        },
        **deadline(workload),
        "template": pod,
    }
    return {"metadata": {"labels": dict(pod["metadata"]["labels"])}, "spec": spec}


def ranks(workload: Workload, needs: Needs) -> list[Object]:
    """Variables of torchrun, as LLaMA-Factory reads them."""
    told = {
        "FORCE_TORCHRUN": "1",
        "NNODES": str(needs.nodes),
        "NPROC_PER_NODE": str(max(needs.gpus, 1)),
        "MASTER_ADDR": f"{child_of(workload.name)}-0.{workload.name}",
        "MASTER_PORT": str(PORT),
    }
    return [
        *({"name": name, "value": value} for name, value in told.items()),
        variable_of("NODE_RANK", INDEX),
        variable_of("KUZNIA_RESTARTS", RESTARTS),
    ]


def _failure_policy(workload: Workload) -> Object:
    """A verdict and a deadline are final; what was taken away costs no restart; all else costs one.

    The verdict comes first and is known by its rule, which takes JobSet 0.10.1: an older one's schema has no
    patterns, and the API server refuses the JobSet as it is written strictly.
    """
    return {
        "maxRestarts": workload.limits.restarts,
        "restartStrategy": "BlockingRecreate",  # the old ones are gone before the new ones look at the store
        "rules": [
            {
                "name": "verdict",
                "action": "FailJobSet",
                "onJobFailureReasons": ["PodFailurePolicy"],
                "onJobFailureMessagePatterns": [f"FailJob rule at index {VERDICT}$"],
            },
            {
                "name": "preempted",
                "action": "RestartJobSetAndIgnoreMaxRestarts",
                "onJobFailureReasons": ["PodFailurePolicy"],
            },
            {"name": "late", "action": "FailJobSet", "onJobFailureReasons": ["DeadlineExceeded"]},
        ],
    }


def _check_name(workload: Workload, needs: Needs) -> None:
    longest = f"{child_of(workload.name)}-{needs.nodes - 1}"
    room = MAX_NAME - _SUFFIX - (len(longest) - len(workload.name))
    if len(workload.name) > room:
        raise Reject(
            f"workload {workload.name!r}: its name has {len(workload.name)} characters; with {needs.nodes} nodes"
            f" {room} are the most, as pods are called {longest}-…"
        )
