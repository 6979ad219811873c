"""A server without a chart: a Deployment of one pod, and the Service by which it is found."""

from __future__ import annotations

import math

from shared.kubernetes.manifests import labels
from shared.kubernetes.manifests.labels import Object, selector
from shared.kubernetes.manifests.needs import needs_of
from shared.kubernetes.manifests.pod import template, variable_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

PORT = "http"
_PROBE_SECONDS = 5
_READY_SECONDS = 600  # where it has no deadline


def deployment(workload: Workload, settings: KubernetesSettings) -> Object:
    """The Deployment of a server. Raises Reject."""
    pod = template(workload, settings, needs_of(workload, settings))
    main = pod["spec"]["containers"][0]
    main["ports"] = [{"name": PORT, "containerPort": settings.port}]
    # Not on all addresses: on the one that its Service leads to.
    address = {"name": "KUZNIA_ADDRESS", "value": f"$(KUZNIA_POD_IP):{settings.port}"}
    main["env"] += [variable_of("KUZNIA_POD_IP", "status.podIP"), address]
    main |= _probes(workload)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": labels.metadata(workload, settings),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 2,
            "progressDeadlineSeconds": math.ceil(workload.limits.deadline_seconds) or _READY_SECONDS,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": selector(workload)},
            "template": pod,
        },
    }


def service(workload: Workload, settings: KubernetesSettings) -> Object:
    """The Service of a server. Raises Reject."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels.metadata(workload, settings),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(workload),
            "ports": [{"name": PORT, "port": settings.port, "targetPort": PORT, "protocol": "TCP"}],
        },
    }


def _probes(workload: Workload) -> Object:
    """Ready once the path answers; alive while the port can be reached, as an engine under load answers late."""
    ask = {"httpGet": {"path": workload.ready_path, "port": PORT}, "timeoutSeconds": _PROBE_SECONDS}
    knock = {"tcpSocket": {"port": PORT}, "timeoutSeconds": _PROBE_SECONDS}
    wait = math.ceil(workload.limits.deadline_seconds) or _READY_SECONDS
    return {
        "startupProbe": {
            **ask,
            "periodSeconds": _PROBE_SECONDS,
            "failureThreshold": math.ceil(wait / _PROBE_SECONDS),
        },
        "readinessProbe": {**ask, "periodSeconds": _PROBE_SECONDS, "failureThreshold": 3},
        "livenessProbe": {**knock, "periodSeconds": 2 * _PROBE_SECONDS, "failureThreshold": 6},
    }
