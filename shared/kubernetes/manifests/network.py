"""Whom a tenant's pods may speak to: jobs each other, the platform servers, all of them names, their identity, and the
world by HTTPS. Servers of the chart have its policy in the place of this one.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.kubernetes.manifests.keys import askers, asking, engine_port, keepers
from shared.kubernetes.manifests.labels import RECOMMENDED, TENANT, Object, of_jobs, tenant_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

NAMES: Mapping[str, str] = {"job": "kuznia-jobs", "server": "kuznia-servers"}
ASKERS = "kuznia-askers"
# What GKE gives to pods, nodes and control planes, private or not.
PRIVATE = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "240.0.0.0/4",
]
# The metadata server, by which a pod gets its cloud identity: GKE's, and of its data plane.
_IDENTITY = (80, 987, 988)


def policies(workload: Workload, settings: KubernetesSettings) -> list[Object]:
    """The tenant's policy of jobs, or of servers: the same for each of them; and the one of jobs that ask engines.

    None where the cluster wants none.
    """
    if not settings.network_policy:
        return []
    tenant = tenant_of(workload)
    mine = of_jobs(tenant)
    if workload.kind == "server":
        ingress = {"from": [_namespace(settings.platform_namespace)], "ports": _ports("TCP", settings.port)}
        spec = {"ingress": [ingress, *askers(tenant, settings)], "egress": _outside(settings)}
    else:
        peers: list[Object] = [{"podSelector": {"matchLabels": mine}}]
        spec = {"ingress": [{"from": peers}], "egress": [{"to": peers}, *_outside(settings)]}
    found = [_policy(NAMES[workload.kind], mine, spec, settings.namespace_of(tenant, workload.kind))]
    return [*found, _of_askers(tenant, settings)] if keepers(workload) else found


def _of_askers(tenant: str, settings: KubernetesSettings) -> Object:
    """To their tenant's engines, and to nobody else's."""
    engines = _namespace(settings.namespace_of(tenant, "server"))
    spec = {"egress": [{"to": [engines], "ports": _ports("TCP", engine_port(settings))}]}
    return _policy(ASKERS, asking(tenant), spec, settings.namespace_of(tenant, "job"))


def _policy(name: str, pods: dict[str, str], rules: Object, namespace: str) -> Object:
    """rules: `ingress`, `egress`; what is not among them is left to other policies."""
    name = f"{name}-{pods[TENANT]}"  # tenants may share a namespace
    labels = {
        "name": name,
        "instance": name,
        "component": "network",
        "part-of": "kuznia",
        "managed-by": "kuznia",
    }
    told = {RECOMMENDED + key: value for key, value in labels.items()} | {TENANT: pods[TENANT]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": told},
        "spec": {
            "podSelector": {"matchLabels": pods},
            "policyTypes": [rule.capitalize() for rule in rules],
            **rules,
        },
    }


def _outside(settings: KubernetesSettings) -> list[Object]:
    """Names, identity, and the world by HTTPS; of private networks those that are named."""
    public: list[Object] = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE}}]
    named = [{"ipBlock": {"cidr": network}} for network in settings.networks]
    return [
        {"to": [_namespace("kube-system")], "ports": _ports("UDP", 53) + _ports("TCP", 53)},
        {
            "to": [{"ipBlock": {"cidr": "169.254.0.0/16"}}],
            "ports": _ports("TCP", *_IDENTITY) + _ports("UDP", 53) + _ports("TCP", 53),
        },
        {"to": public + named, "ports": _ports("TCP", 443)},
    ]


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _ports(protocol: str, *numbers: int) -> list[Object]:
    return [{"protocol": protocol, "port": number} for number in numbers]
