"""The chart llama-factory-api, and the values that its tests begin with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.charts.rendering import Chart, Document, merged

NAME = "llama-factory-api"
EXAMPLES = ("adapter", "follow", "hub", "llamafactory", "model", "mounted", "stream")
DIGEST = "sha256:" + "a" * 64
MODEL: dict[str, Any] = {
    "model": {"id": "team-x/llm-qa-v1", "artifactPath": "gs://bucket/models/qa", "manifestDigest": DIGEST}
}
ADAPTER = merged(MODEL, {"model": {"kind": "adapter", "base": {"id": "org/base"}}})
LLAMAFACTORY = merged(MODEL, {"engine": "llamafactory", "model": {"template": "chatml"}})
NO_GPU = {
    "image": {"repository": "vllm-cpu", "tag": "0.32.0"},
    "resources": {part: {"nvidia.com/gpu": None} for part in ("limits", "requests")},
}


@pytest.fixture(scope="session")
def chart(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """The chart, with its renderings kept for the session."""
    return Chart(helm, NAME, tmp_path_factory.mktemp("values"))


def pod(document: Document) -> dict[str, Any]:
    """The pod of a Deployment."""
    spec: dict[str, Any] = document["spec"]["template"]["spec"]
    return spec


def engine(document: Document) -> dict[str, Any]:
    """The engine's container of a Deployment."""
    (found,) = pod(document)["containers"]
    return dict(found)


def environment(container: dict[str, Any]) -> dict[str, str]:
    """Variables with a value of their own; those from Secrets as `<secret>/<key>`."""
    found = {}
    for variable in container["env"]:
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        found[variable["name"]] = f"{secret['name']}/{secret['key']}" if secret else variable["value"]
    return found
