"""The kinds of object that are spoken of, and where in the API each lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.errors import Reject


class Kind(msgspec.Struct, frozen=True):
    """group: empty for the core. short: what kubectl takes besides. status: it has a status of its own to write."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    status: bool = True

    @property
    def api_version(self) -> str:
        """As a manifest says it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Of the collection, or of one object of it, or of a part of that."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join(
            [*parts, self.plural, *([name] if name else []), *([subresource] if subresource else [])]
        )


NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False, short=("ns",))
NODE = Kind("", "v1", "Node", "nodes", namespaced=False, short=("no",))
POD = Kind("", "v1", "Pod", "pods", short=("po",))
SERVICE = Kind("", "v1", "Service", "services", short=("svc",))
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", short=("cm",), status=False)
SECRET = Kind("", "v1", "Secret", "secrets", status=False)
EVENT = Kind("", "v1", "Event", "events", short=("ev",), status=False)
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", short=("deploy",))
JOB = Kind("batch", "v1", "Job", "jobs")
JOB_SET = Kind("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets")
WORKFLOW = Kind("argoproj.io", "v1alpha1", "Workflow", "workflows", short=("wf",), status=False)
APPLICATION = Kind(
    "argoproj.io", "v1alpha1", "Application", "applications", short=("app", "apps"), status=False
)

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    EVENT,
    Kind("", "v1", "ServiceAccount", "serviceaccounts", short=("sa",), status=False),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", short=("pvc",)),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False, short=("pv",)),
    Kind("", "v1", "ResourceQuota", "resourcequotas", short=("quota",)),
    Kind("", "v1", "LimitRange", "limitranges", short=("limits",), status=False),
    DEPLOYMENT,
    JOB,
    Kind("batch", "v1", "CronJob", "cronjobs", short=("cj",)),
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", short=("ing",)),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short=("netpol",), status=False),
    Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short=("pdb",)),
    Kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", short=("hpa",)),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", status=False),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", status=False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False, status=False),
    Kind(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        namespaced=False,
        status=False,
    ),
    Kind(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        namespaced=False,
        short=("pc",),
        status=False,
    ),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", status=False),
    Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways", short=("gtw",)),
    Kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    Kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors", status=False),
    Kind("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules", status=False),
    Kind("monitoring.googleapis.com", "v1", "PodMonitoring", "podmonitorings"),
    Kind("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects", short=("so",)),
    Kind("kueue.x-k8s.io", "v1beta1", "LocalQueue", "localqueues"),
    JOB_SET,
    WORKFLOW,
    APPLICATION,
)
_BY_NAME: Mapping[tuple[str, str], Kind] = {(kind.api_version, kind.kind): kind for kind in KINDS}


class Ref(msgspec.Struct, frozen=True):
    """One object. namespace: empty for what lies in none."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind.kind} {self.name}{place}"

    @property
    def path(self) -> str:
        """Of the object in the API."""
        return self.kind.path(self.namespace, self.name)


def ref_of(manifest: Mapping[str, Any]) -> Ref:
    """Which object a manifest is of. Raises Reject where it is of an unknown kind or has no name."""
    named = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
    kind, metadata = _BY_NAME.get(named), manifest.get("metadata") or {}
    if kind is None:
        raise Reject(
            f"{named[1]} of {named[0]} is no kind that is known here; add it to shared/kubernetes/kinds.py"
        )
    if not metadata.get("name"):
        raise Reject(f"a manifest of a {kind.kind} has no metadata.name")
    return Ref(kind, str(metadata.get("namespace", "")) if kind.namespaced else "", str(metadata["name"]))
