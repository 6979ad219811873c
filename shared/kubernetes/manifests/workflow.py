"""An Argo Workflow: the same pod under the same name, for those who run everything there.

Of several nodes it is a Workflow of one step that makes the JobSet and watches it.
"""

from __future__ import annotations

import json

from shared.kubernetes.manifests import labels
from shared.kubernetes.manifests.job import AGAIN, QUEUE, deadline
from shared.kubernetes.manifests.jobset import jobset
from shared.kubernetes.manifests.keys import mounted
from shared.kubernetes.manifests.labels import DOCUMENT, Object
from shared.kubernetes.manifests.needs import Needs, needs_of, placement
from shared.kubernetes.manifests.pod import grace, priority, security, template
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

STEP = "run"
ENTRYPOINT = ["tini", "--"]  # said here, as Argo would ask the image's registry for it
# Argo cannot tell a machine that was taken away from any other end: on spot machines there are more of these.
SPOT_RESTARTS = 20


def workflow(workload: Workload, settings: KubernetesSettings) -> Object:
    """The Workflow of a workload. Raises Reject."""
    needs = needs_of(workload, settings)
    step = _jobset_step(workload, settings) if needs.nodes > 1 else _pod_step(workload, settings, needs)
    spec: Object = {
        "entrypoint": STEP,
        "automountServiceAccountToken": False,  # only Argo's own container gets one
        "executor": {"serviceAccountName": settings.executor_account},
        "securityContext": security(),
        "ttlStrategy": {"secondsAfterCompletion": settings.ttl_seconds},
        "podGC": {"strategy": "OnWorkflowCompletion", "deleteDelayDuration": f"{settings.ttl_seconds}s"},
        **deadline(workload),
        "templates": [step],
    }
    if settings.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    if settings.priority_class:
        spec["podPriorityClassName"] = priority(workload, settings)
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": labels.metadata(workload, settings),
        "spec": spec,
    }


def _pod_step(workload: Workload, settings: KubernetesSettings, needs: Needs) -> Object:
    pod = mounted(template(workload, settings, needs), workload, settings)
    main = {**pod["spec"]["containers"][0], "command": ENTRYPOINT}
    # What the pod's template has and Argo's has not.
    patch: Object = {"terminationGracePeriodSeconds": grace(workload, needs), "enableServiceLinks": False}
    if settings.runtime_class:
        patch["runtimeClassName"] = settings.runtime_class
    metadata = pod["metadata"]
    metadata["annotations"][DOCUMENT] = _inert(metadata["annotations"][DOCUMENT])
    if settings.queue:  # Kueue holds the pod itself back: a Workflow is not suspended by others
        metadata["labels"][QUEUE] = settings.queue
    return {
        "name": STEP,
        "metadata": metadata,
        "serviceAccountName": pod["spec"]["serviceAccountName"],
        **placement(needs),
        "retryStrategy": _retries(workload, needs),
        "podSpecPatch": json.dumps(patch, sort_keys=True),
        "container": main,
        "volumes": pod["spec"]["volumes"],
    }


def _jobset_step(workload: Workload, settings: KubernetesSettings) -> Object:
    manifest = jobset(workload, settings)
    pod = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    pod["metadata"]["annotations"][DOCUMENT] = _inert(pod["metadata"]["annotations"][DOCUMENT])
    return {
        "name": STEP,
        # Not the workload's, as it is none of its pods; but it has to reach the API server.
        "metadata": {"labels": labels.of_jobs(labels.tenant_of(workload))},
        "serviceAccountName": settings.executor_account,  # its right is to make JobSets, and no more
        "resource": {
            "action": "create",
            "setOwnerReference": True,
            "manifest": json.dumps(manifest, sort_keys=True),
            "successCondition": "status.terminalState == Completed",
            "failureCondition": "status.terminalState == Failed",
        },
    }


def _retries(workload: Workload, needs: Needs) -> Object:
    """Again after a death that was no verdict: without an exit code (-1) the pod was gone, or never began."""
    codes = ", ".join(str(code) for code in (-1, *AGAIN))
    restarts = workload.limits.restarts
    limit = max(restarts, SPOT_RESTARTS) if needs.spot and restarts else restarts
    return {
        "limit": str(limit),
        "retryPolicy": "Always",
        "expression": f"asInt(lastRetry.exitCode) in [{codes}]",
    }


def _inert(document: str) -> str:
    """Equal JSON in which Argo finds no template: two braces open only inside strings."""
    return document.replace("{{", "{\\u007b")
