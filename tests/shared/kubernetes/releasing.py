"""A server to release, settings to release it with, and an API that remembers the Secrets it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from shared.kubernetes.kinds import Ref
from shared.kubernetes.releases.secret import Keys
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Limits, Workload

CHART = str(Path(__file__).parents[3] / "charts" / "llama-factory-api")
NAME, NAMESPACE, MODEL = "serve-team-x-llm-qa-v1-1-0-0-1", "team-x-api", "team-x.llm-qa.v1"
DIGEST = f"sha256:{'a' * 64}"
KEY = "0123456789abcdef" * 4


def server(name: str = NAME, *, kind: str = "adapter", engine: str = "vllm", **more: Any) -> Workload:
    """As services/deployment asks for it."""
    document = {
        "release": name,
        "model": f"{MODEL}@1.0.0",
        "engine_model": MODEL,
        "artifact": {
            "uri": "gs://acme-kuznia/runs/r-0123456789abcdef/final",
            "manifest_digest": DIGEST,
            "kind": kind,
            "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        },
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "template": "chatml",
        "engine": engine,
        "cause": "3f0c",
        "traceparent": "",
    }
    return Workload(
        name=name,
        service="deployment",
        key=f"releases/{MODEL}",
        kind="server",
        module="services.deployment.pod",
        document=document | more,
        limits=Limits(deadline_seconds=600, grace_seconds=60),
        ready_path="/health",
        labels={"tenant": "team-x", "model": MODEL},
    )


def settings(**more: Any) -> KubernetesSettings:
    given = {"trainer_image": "kuznia-trainer:1", "releases": "helm", "chart": CHART, "request_seconds": 10.0}
    return KubernetesSettings(**(given | more))


class Objects:
    """Secrets by namespace and name."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Any]] = {}

    def apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self.held[metadata["namespace"], metadata["name"]] = manifest

    def delete(self, ref: Ref, grace_seconds: int | None = None) -> None:
        self.held.pop((ref.namespace, ref.name), None)


def keys(objects: Objects) -> Keys:
    return Keys(objects, lambda _name: KEY)


def manifests(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found
