"""What a workload needs of a node, from `resources` of model.yaml; and how Kubernetes is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.errors import Reject
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

GIB = 1024**3
MIB = 1024**2
GPU = "nvidia.com/gpu"
ACCELERATOR = "cloud.google.com/gke-accelerator"
SPOT = "cloud.google.com/gke-spot"
# Where model.yaml is silent. A namespace may have a LimitRange, whose default would be too little for any training.
MEMORY_GIB, MEMORY_GIB_A_GPU = 8, 16
CPUS, CPUS_A_GPU = 2, 4
DISK_GIB = 10  # asked for; the limit is the setting's scratch_gib
SHARE_OF_SHM = 4  # a quarter of the memory
SPOT_GRACE = 25  # seconds that GKE leaves a pod whose machine it takes


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """Of each node. gpu: kind, empty for none. memory, disk: bytes; disk: 0 where model.yaml does not say."""

    gpu: str
    gpus: int
    nodes: int
    spot: bool
    memory: int
    disk: int

    @property
    def cpus(self) -> int:
        """Cores to ask for; there is no limit, as idle ones would be lost."""
        return CPUS_A_GPU * self.gpus or CPUS


def needs_of(workload: Workload, settings: KubernetesSettings) -> Needs:
    """What it asks for. Who says nothing of resources (an evaluation) gets one of the cluster's accelerator.

    Raises Reject with all that is wrong.
    """
    said = workload.document.get("resources")
    told = isinstance(said, Mapping)
    resources: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    kind = str(resources.get("gpu") or "none") if told else settings.accelerator or "none"
    faults: list[str] = []
    gpus = _count(resources, "gpus", int(kind != "none"), faults)
    nodes = _count(resources, "nodes", 1, faults)
    memory_gb = workload.limits.memory_bytes / GIB or _amount(resources, "memory_gb", faults)
    disk = _amount(resources, "disk_gb", faults)
    if gpus and kind == "none":
        faults.append(f"resources.gpus is {gpus}, while gpu is none")
    if faults:
        raise Reject(f"workload {workload.name!r} cannot be run:\n" + "\n".join(faults))
    return Needs(
        gpu="" if kind == "none" else kind,
        gpus=gpus,
        nodes=max(nodes, 1),
        spot=bool(resources.get("spot", settings.spot)),
        memory=int((memory_gb or MEMORY_GIB + MEMORY_GIB_A_GPU * gpus) * GIB),
        disk=int(disk * GIB),
    )


def resources(needs: Needs, settings: KubernetesSettings) -> dict[str, dict[str, str]]:
    """`resources` of the container."""
    disk = {"ephemeral-storage": quantity(needs.disk or DISK_GIB * GIB)}
    gpus = {GPU: str(needs.gpus)} if needs.gpus else {}
    memory = {"memory": quantity(needs.memory)}
    most = {"ephemeral-storage": quantity(scratch(needs, settings))}
    return {
        "requests": {"cpu": str(needs.cpus), **memory, **disk, **gpus},
        "limits": {**memory, **most, **gpus},
    }


def placement(needs: Needs) -> dict[str, Any]:
    """On which nodes its pods may run: selector and tolerations of the pod, as far as there are some."""
    selector, tolerations = {}, []
    if needs.gpus:
        selector[ACCELERATOR] = needs.gpu
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
    if needs.spot:
        selector[SPOT] = "true"
        tolerations.append({"key": SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
    placed: dict[str, Any] = {"nodeSelector": selector, "tolerations": tolerations}
    return {name: value for name, value in placed.items() if value}


def scratch(needs: Needs, settings: KubernetesSettings) -> int:
    """Bytes that may be written to disk at most."""
    return needs.disk or max(settings.scratch_gib, DISK_GIB) * GIB


def quantity(amount: int) -> str:
    """Bytes as Kubernetes says them: `16Gi`, or `1536Mi`."""
    return f"{amount // GIB}Gi" if amount % GIB == 0 else f"{-(-amount // MIB)}Mi"


def _count(resources: Mapping[str, Any], name: str, default: int, faults: list[str]) -> int:
    value = resources.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        faults.append(f"resources.{name} is {value!r}; it should be a whole number")
        return default
    return value


def _amount(resources: Mapping[str, Any], name: str, faults: list[str]) -> float:
    value = resources.get(name)
    if value is None:
        return 0
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        faults.append(f"resources.{name} is {value!r}; it should be a number of GB above 0")
        return 0
    return value
