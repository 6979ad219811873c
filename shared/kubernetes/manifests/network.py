"""Whom a tenant's training pods may speak to: each other, names, their identity, and the world by HTTPS."""

from __future__ import annotations

from shared.kubernetes.manifests.labels import RECOMMENDED, TENANT, Object, of_jobs, tenant_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

NAME = "kuznia-jobs"
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
    """The policy of the tenant's jobs, the same for each of them; none where the cluster wants none."""
    if not settings.network_policy:
        return []
    tenant = tenant_of(workload)
    labels = {
        "name": NAME,
        "instance": NAME,
        "component": "network",
        "part-of": "kuznia",
        "managed-by": "kuznia",
    }
    mine = of_jobs(tenant)
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {
                "name": NAME,
                "namespace": settings.namespace_of(tenant, "job"),
                "labels": {RECOMMENDED + name: value for name, value in labels.items()} | {TENANT: tenant},
            },
            "spec": {
                "podSelector": {"matchLabels": mine},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"podSelector": {"matchLabels": mine}}]}],
                "egress": _egress(mine, settings),
            },
        }
    ]


def _egress(mine: dict[str, str], settings: KubernetesSettings) -> list[Object]:
    system = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}
    outside: list[Object] = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": PRIVATE}}]
    outside += [{"ipBlock": {"cidr": network}} for network in settings.networks]
    return [
        {"to": [{"podSelector": {"matchLabels": mine}}]},
        {"to": [{"namespaceSelector": system}], "ports": _ports("UDP", 53) + _ports("TCP", 53)},
        {
            "to": [{"ipBlock": {"cidr": "169.254.0.0/16"}}],
            "ports": _ports("TCP", *_IDENTITY) + _ports("UDP", 53) + _ports("TCP", 53),
        },
        {"to": outside, "ports": _ports("TCP", 443)},
    ]


def _ports(protocol: str, *numbers: int) -> list[Object]:
    return [{"protocol": protocol, "port": number} for number in numbers]
