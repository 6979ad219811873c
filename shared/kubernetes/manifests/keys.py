"""What a job that asks engines needs: their keys, as a Secret that is gone with the job, and a way through the network.

Such a job says in its document which `engines` it asks, each with its `keeper`, by whose name its key is derived.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from shared.identity import workload_name
from shared.kubernetes.manifests.labels import RECOMMENDED, Object, labels, of_jobs
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

FOLDER = "/etc/kuznia-keys"
VARIABLE = "KUZNIA_ENGINE_KEYS"
VOLUME = "keys"
CHART_PORT = 8000  # of the containers of the chart of engines


def keepers(workload: Workload) -> list[str]:
    """Names by which the keys are derived, each once; empty for what asks no engine."""
    engines = workload.document.get("engines") if workload.kind == "job" else None
    listed = engines if isinstance(engines, list | tuple) else ()
    named = (engine.get("keeper") for engine in listed if isinstance(engine, Mapping))
    return sorted({str(name) for name in named if name})


def mounted(template: Object, workload: Workload, settings: KubernetesSettings) -> Object:
    """The pod template with the keys; as it was where there are none. Plain servers ask for none that is known here."""
    if not keepers(workload) or settings.releases == "plain":
        return template
    spec = template["spec"]
    main, *others = spec["containers"]
    mount = {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}
    main = {
        **main,
        "env": [*main["env"], {"name": VARIABLE, "value": FOLDER}],
        "volumeMounts": [*main["volumeMounts"], mount],
    }
    volume = {"name": VOLUME, "secret": {"secretName": name_of(workload), "defaultMode": 0o440}}
    changed = {**spec, "containers": [main, *others], "volumes": [*spec["volumes"], volume]}
    return {**template, "spec": changed}


def secret(workload: Workload, key: Callable[[str], str], main: Object) -> Object:
    """The Secret. key: of an engine, by its keeper. main: the job as it stands, with which it ends."""
    metadata = main["metadata"]
    owner = {
        "apiVersion": main["apiVersion"],
        "kind": main["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name_of(workload),
            "namespace": metadata["namespace"],
            "labels": labels(workload, ""),
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "data": {name: base64.b64encode(key(name).encode()).decode() for name in keepers(workload)},
    }


def askers(tenant: str, settings: KubernetesSettings) -> list[Object]:
    """What the policy of an engine lets in besides: its tenant's jobs that ask engines."""
    jobs = {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace_of(tenant, "job")}}
    sender = {"namespaceSelector": jobs, "podSelector": {"matchLabels": asking(tenant)}}
    return [{"from": [sender], "ports": [{"protocol": "TCP", "port": engine_port(settings)}]}]


def asking(tenant: str) -> dict[str, str]:
    """Labels that select the tenant's jobs that ask engines: they are those of deployment."""
    return {**of_jobs(tenant), RECOMMENDED + "component": "deployment"}


def engine_port(settings: KubernetesSettings) -> int:
    """Of the containers, which a policy goes by, whatever port their Service has."""
    return settings.port if settings.releases == "plain" else CHART_PORT


def name_of(workload: Workload) -> str:
    """Of the Secret."""
    return workload_name(workload.name, "keys")
