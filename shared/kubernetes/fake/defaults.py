"""What the server fills in where a manifest is silent, as far as clients or controllers look at it."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from shared.kubernetes.fake.objects import Object, copied

JOB_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"


def defaulted(obj: Object) -> Object:
    """A copy with the defaults of its kind; its metadata have a uid already."""
    result: Object = copied(obj)
    fill = _FILLS.get(result["kind"])
    if fill:
        fill(result)
    return result


def _pod(pod: Object) -> None:
    _pod_spec(pod.setdefault("spec", {}))
    pod.setdefault("status", {"phase": "Pending", "qosClass": "Burstable"})


def _pod_spec(spec: Object) -> None:
    for name, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("serviceAccountName", "default"),
        ("schedulerName", "default-scheduler"),
    ):
        spec.setdefault(name, value)
    for container in _containers(spec):
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("resources", {})
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
        _limits_request(container["resources"])


def _containers(spec: Object) -> list[Any]:
    return [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]


def _limits_request(resources: Object) -> None:
    for name, amount in (resources.get("limits") or {}).items():
        resources.setdefault("requests", {}).setdefault(name, amount)


def _job(job: Object) -> None:
    spec, uid, name = job.setdefault("spec", {}), job["metadata"]["uid"], job["metadata"]["name"]
    for field, value in (("backoffLimit", 6), ("completionMode", "NonIndexed"), ("suspend", False)):
        spec.setdefault(field, value)
    if "backoffLimitPerIndex" in spec and spec["backoffLimit"] == 6:
        spec["backoffLimit"] = 2**31 - 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("completions", 1)
    spec.setdefault("selector", {"matchLabels": {JOB_UID: uid}})
    template = spec.setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    labels.update({JOB_UID: uid, "controller-uid": uid, JOB_NAME: name, "job-name": name})
    _pod_spec(template.setdefault("spec", {}))
    job.setdefault("status", {})


def _deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    for field, value in (
        ("replicas", 1),
        ("progressDeadlineSeconds", 600),
        ("revisionHistoryLimit", 10),
        (
            "strategy",
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        ),
    ):
        spec.setdefault(field, value)
    _pod_spec(spec.setdefault("template", {}).setdefault("spec", {}))
    deployment.setdefault("status", {})


def _service(service: Object) -> None:
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if "clusterIP" not in spec and spec["type"] != "ExternalName":
        uid = uuid.UUID(service["metadata"]["uid"]).bytes
        spec["clusterIP"] = f"10.96.{uid[0]}.{uid[1]}"
    service.setdefault("status", {"loadBalancer": {}})


def _namespace(namespace: Object) -> None:
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    namespace.setdefault("status", {"phase": "Active"})
    namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = namespace["metadata"][
        "name"
    ]


def _secret(secret: Object) -> None:
    secret.setdefault("type", "Opaque")
    for name, text in (secret.pop("stringData", None) or {}).items():
        secret.setdefault("data", {})[name] = base64.b64encode(str(text).encode()).decode()


_FILLS: Mapping[str, Callable[[Object], None]] = {
    "Pod": _pod,
    "Job": _job,
    "Deployment": _deployment,
    "Service": _service,
    "Namespace": _namespace,
    "Secret": _secret,
}
