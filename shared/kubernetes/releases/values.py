"""A server's workload as values of the chart `llama-factory-api`. Pure.

Three layers, the later one wins: what follows from KUZNIA_K8S_*, the operator's own file of values, and what the
registry says of this version, which nobody may change on the way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from shared.errors import Reject
from shared.identity import content_digest
from shared.kubernetes.manifests import labels
from shared.kubernetes.manifests.keys import askers
from shared.kubernetes.manifests.pod import account, priority
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

MAX_RELEASE = 53  # helm's own limit
SECRET_KEY = "api-key"  # noqa: S105 - the name of the entry, not what it holds
ENGINES = ("vllm", "llamafactory")
_CHARTS_OWN = frozenset(
    {labels.TENANT, labels.OURS + "model"}
)  # labels that the chart makes of the model's id
_AUTOSCALING = {
    "min_replicas": ("minReplicas",),
    "max_replicas": ("maxReplicas",),
    "cpu_percent": ("targetCPUUtilizationPercentage",),
    "requests_waiting": ("requestsWaiting", "target"),
    "kv_cache_usage": ("kvCacheUsage", "target"),
}


def release_name(name: str) -> str:
    """The helm release of a workload: its name, cut and with a digest where helm would refuse its length."""
    if len(name) <= MAX_RELEASE:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: MAX_RELEASE - 9].strip('-')}-{digest}"


def secret_name(name: str) -> str:
    """The Secret with the key that the gateway shows to this server."""
    return f"{name}-key"


def digest_of(content: Any) -> str:
    """`sha256:<hex>` of JSON types, whatever the order of their keys."""
    return content_digest(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def values_of(
    workload: Workload, settings: KubernetesSettings, operator: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All values of one release. operator: content of the file KUZNIA_K8S_CHART_VALUES. Raises Reject."""
    document = workload.document
    if document.get("engine") not in ENGINES:
        raise Reject(
            f"{workload.name}: engine is {document.get('engine')!r}; the chart has {' and '.join(ENGINES)}"
        )
    of_installation = merged(_from_settings(workload, settings), operator or {})
    return merged(merged(of_installation, _scaled(document)), _facts(workload))


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As helm merges values: mappings key by key, all else is replaced."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        nested = isinstance(value, Mapping) and isinstance(under, Mapping)
        both[key] = merged(under, value) if nested else value  # type: ignore[arg-type]
    return both


def image_of(image: str) -> dict[str, str]:
    """`repository[:tag][@sha256:…]` in the chart's words.

    >>> image_of("europe-docker.pkg.dev/p/kuznia/engine:1.2")
    {'repository': 'europe-docker.pkg.dev/p/kuznia/engine', 'tag': '1.2', 'digest': ''}
    """
    name, _, digest = image.partition("@")
    folder, slash, last = name.rpartition("/")
    short, _, tag = last.partition(":")
    return {"repository": f"{folder}{slash}{short}", "tag": tag, "digest": digest}


def _from_settings(workload: Workload, settings: KubernetesSettings) -> dict[str, Any]:
    found: dict[str, Any] = {
        # As infra/terraform and charts/kuznia make it in each tenant's namespace of servers.
        "serviceAccount": {"create": False, "name": account(workload, settings)},
        "gpu": {"accelerator": settings.accelerator, "spot": settings.spot},
        "priorityClassName": priority(workload, settings),
        "runtimeClassName": settings.runtime_class,
        "service": {"port": settings.port},
        "networkPolicy": {
            "namespaces": [settings.platform_namespace],
            "extraIngress": askers(labels.tenant_of(workload), settings),
        },
    }
    if settings.hf_secret:
        found["env"] = {"HF_TOKEN_SECRET_NAME": settings.hf_secret, "HF_TOKEN_SECRET_KEY": "token"}
    if settings.engine_image:
        found["image"] = image_of(settings.engine_image)
    if settings.image_pull_secret:
        found["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    return found


def _scaled(document: Mapping[str, Any]) -> dict[str, Any]:
    """The section `deployment` of model.yaml, where the document carries it."""
    section = document.get("deployment", {})
    found: dict[str, Any] = {}
    if "replicas" in section:
        found["replicaCount"] = section["replicas"]
    if asked := section.get("autoscaling"):
        found["autoscaling"] = {"enabled": True, **_scaler(asked)}
    return found


def _scaler(asked: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, path in _AUTOSCALING.items():
        value = asked.get(name)
        if value is None:
            continue
        found[path[0]] = {"enabled": True, path[1]: str(value)} if len(path) > 1 else value
    return found


def _facts(workload: Workload) -> dict[str, Any]:
    document, artifact = workload.document, workload.document["artifact"]
    model = {
        "id": document.get("engine_model") or document["model"].partition("@")[0],
        "version": document["model"].partition("@")[2],
        "kind": artifact["kind"],
        "artifactPath": artifact["uri"],
        "manifestDigest": artifact["manifest_digest"],
        "template": document.get("template", ""),
    }
    if artifact["kind"] == "adapter":
        model["base"] = {"id": document["base_model"], "revision": artifact.get("base_revision", "")}
    return {
        "fullnameOverride": workload.name,
        "engine": document["engine"],
        "model": model,
        **_deadlines(workload),
        "apiKey": {"secretName": secret_name(workload.name), "key": SECRET_KEY},
        "commonLabels": _labels(workload),
        "commonAnnotations": labels.notes(workload),
    }


def _deadlines(workload: Workload) -> dict[str, Any]:
    limits = workload.limits
    found: dict[str, Any] = {"terminationGracePeriodSeconds": max(1, int(limits.grace_seconds))}
    if limits.deadline_seconds:
        seconds = int(limits.deadline_seconds)
        found |= {"progressDeadlineSeconds": seconds, "probes": {"startupSeconds": seconds}}
    return found


def _labels(workload: Workload) -> dict[str, str]:
    """Those by which the cluster's watch finds what is ours."""
    own = labels.labels(workload, "")
    return {
        name: value for name, value in own.items() if name.startswith(labels.OURS) and name not in _CHARTS_OWN
    }
