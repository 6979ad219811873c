"""What the deploy repository holds of one release: its values, its manifests, what it is, its Application. Pure.

A folder a release, `<path>/<tenant>/<release>/`, so that two releases never touch the same file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from shared.kubernetes.manifests.labels import DIGEST, KEY, spec_digest, tenant_of
from shared.kubernetes.releases.chart import OCI
from shared.kubernetes.releases.values import digest_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Workload

ARGO_NAMESPACE = "argocd"
PROJECT = "default"
HERE = "https://kubernetes.default.svc"
VALUES, FACTS, APPLICATION, MANIFESTS = (
    "values.yaml",
    "release.json",
    "application.yaml",
    "manifests/release.yaml",
)
FINALIZER = "resources-finalizer.argocd.argoproj.io"  # with the Application goes what it made


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """chart: `chart_digest` of it. manifests: rendered, or empty where Argo CD renders a chart of a registry."""

    workload: Workload
    values: Mapping[str, Any]
    chart: str
    manifests: str = ""


def folder_of(workload: Workload, settings: KubernetesSettings) -> str:
    """Where in the repository it lies. Raises Reject where the workload names no tenant."""
    return "/".join(
        part for part in (settings.gitops_path.strip("/"), tenant_of(workload), workload.name) if part
    )


def files_of(release: Release, settings: KubernetesSettings) -> dict[str, str]:
    """Path in the folder -> content; the same release, the same files, byte by byte."""
    files = {
        VALUES: _yaml(release.values),
        FACTS: json.dumps(facts_of(release), indent=2, sort_keys=True) + "\n",
        APPLICATION: _yaml(application_of(release, settings)),
    }
    return files | ({MANIFESTS: release.manifests} if release.manifests else {})


def facts_of(release: Release) -> dict[str, Any]:
    """What a reader of the repository, or of its history, wants to know."""
    document = release.workload.document
    model, _, version = document["model"].partition("@")
    return {
        "release": release.workload.name,
        "tenant": tenant_of(release.workload),
        "model_id": model,
        "version": version,
        "engine": document["engine"],
        "base_model": document["base_model"],
        "artifact": document["artifact"]["uri"],
        "manifest_digest": document["artifact"]["manifest_digest"],
        "chart": release.chart,
        "values_digest": digest_of(release.values),
        "spec_digest": spec_digest(release.workload),
    }


def message_of(release: Release) -> str:
    """Of the commit: what and which, and as trailers what a program looks for."""
    facts = facts_of(release)
    trailers = {
        "Kuznia-Release": facts["release"],
        "Kuznia-Model": facts["model_id"],
        "Kuznia-Version": facts["version"],
        "Kuznia-Manifest": facts["manifest_digest"],
        "Kuznia-Spec": facts["spec_digest"],
        "Kuznia-Values": facts["values_digest"],
        "Kuznia-Cause": release.workload.document.get("cause", ""),
    }
    lines = [f"{name}: {value}" for name, value in trailers.items() if value]
    return f"Release {facts['model_id']} {facts['version']}\n\n" + "\n".join(lines) + "\n"


def removal_message(name: str) -> str:
    """Of the commit that takes a release away."""
    return f"Remove {name}\n\nKuznia-Release: {name}\n"


def application_of(release: Release, settings: KubernetesSettings) -> dict[str, Any]:
    """Argo CD's Application; a root Application over the repository makes it known (docs/deploy-gke.md)."""
    workload = release.workload
    labels = {
        "app.kubernetes.io/name": "llama-factory-api",
        "app.kubernetes.io/instance": workload.name,
        "app.kubernetes.io/component": "engine",
        "app.kubernetes.io/part-of": "kuznia",
        "app.kubernetes.io/managed-by": "kuznia",
        "kuznia.dev/tenant": tenant_of(workload),
        "kuznia.dev/release": workload.name,
        "kuznia.dev/service": workload.service,
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": workload.name,
            "namespace": ARGO_NAMESPACE,
            "labels": labels,
            "annotations": {DIGEST: spec_digest(workload), KEY: workload.key},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "project": PROJECT,
            **_sources(release, settings),
            "destination": {
                "server": HERE,
                "namespace": settings.namespace_of(tenant_of(workload), "server"),
            },
            "syncPolicy": {
                "automated": {"prune": True, "selfHeal": True},
                "syncOptions": ["ServerSideApply=true"],
                "retry": {"limit": 10, "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"}},
            },
            "revisionHistoryLimit": 10,
        },
    }


def _sources(release: Release, settings: KubernetesSettings) -> dict[str, Any]:
    """The manifests of the repository, or a registry's chart with the repository's values."""
    folder = folder_of(release.workload, settings)
    here = {"repoURL": settings.gitops_repository, "targetRevision": settings.gitops_branch}
    if not settings.chart.startswith(OCI):
        return {"source": {**here, "path": f"{folder}/{MANIFESTS.partition('/')[0]}"}}
    place, _, version = settings.chart.removeprefix(OCI).rpartition(":")
    registry, _, name = place.rpartition("/")
    chart = {
        "repoURL": registry,
        "chart": name,
        "targetRevision": version,
        "helm": {"releaseName": release.workload.name, "valueFiles": [f"$values/{folder}/{VALUES}"]},
    }
    return {"sources": [chart, {**here, "ref": "values"}]}


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=True, allow_unicode=True, width=110)
