"""What the chart tells an engine is what the pods tell it: the same document, the same words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from events.parts import Artifact
from services.deployment.pod.document import Document
from services.deployment.pod.engine import Places, serving
from services.deployment.pod.fetch import Asked, read
from shared.forge import serving as told
from shared.forge.serving import Serving
from shared.forge.vllm import INSIDE
from shared.kubernetes.releases.values import values_of
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Limits, Workload
from tests import kubernetes_checks as checks
from tests.charts.llama_factory_api import ADAPTER, EXAMPLES, LLAMAFACTORY, MODEL, NO_GPU, engine, environment
from tests.charts.rendering import ROOT, Chart, merged
from tests.charts.rendering import Document as Manifest

ADDRESS = "0.0.0.0:8000"
SAMPLED = {
    "model": {"generation": {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 99}}
}
LOADED = {"model": {"base": {"artifactPath": "gs://bucket/base"}}}


def said_by_the_pod(values: Mapping[str, Any], gpus: int) -> Serving:
    """What services/deployment/pod would serve, its files lying where the chart has them."""
    model = values["model"]
    kind: Literal["adapter", "model"] = model.get("kind", "model")
    base = model.get("base", {}).get("id", "")
    document = Document(
        release="serve",
        model=f"{model['id']}@1.0.0",
        engine_model=model["id"],
        artifact=Artifact(uri=model["artifactPath"], manifest_digest="", kind=kind, base_model=base),
        base_model=base,
        template=model.get("template", ""),
        generation=model.get("generation", {}),
        engine=values.get("engine", "vllm"),
        cause="",
        grace_seconds=120 - 15,
    )
    places = Places(
        weights=Path("/models/weights"),
        base="/models/base",
        gpus=gpus,
        threads=4,
        rank=16,
        chat_template="/models/weights/chat_template.jinja",
    )
    return serving(document, places, ADDRESS)


def options(words: list[str]) -> dict[str, Any]:
    """Flag -> value; JSON read, as its writers differ in spaces."""
    found: dict[str, Any] = {}
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            found[word] = None if after.startswith("--") else after
    generation = found["--override-generation-config"]
    return found | {"--override-generation-config": json.loads(generation)}


@pytest.mark.parametrize("gpus", [0, 1, 4])
@pytest.mark.parametrize(
    "values", [MODEL, merged(ADAPTER, LOADED), merged(MODEL, SAMPLED)], ids=["model", "adapter", "sampled"]
)
def test_vllm_is_told_the_same(chart: Chart, values: dict[str, Any], gpus: int):
    sized = merged(values, _sized(gpus))
    serve = engine(chart.one(sized, "Deployment"))
    wanted = told.words(said_by_the_pod(sized, gpus))
    assert serve["command"] == ["vllm"]
    assert serve["args"][:2] == wanted[:2]
    assert options(serve["args"]) == options(wanted)
    assert list(options(serve["args"])) == list(options(wanted)), "the order"


@pytest.mark.parametrize("values", [ADAPTER, LLAMAFACTORY], ids=["vllm", "llamafactory"])
def test_the_environment_is_the_same(chart: Chart, values: dict[str, Any]):
    more = {"apiKey": {"secretName": "qa"}, "vllm": {"cpuKvCacheGiB": 1}}
    serve = engine(chart.one(merged(merged(values, more), NO_GPU), "Deployment"))
    wanted = told.variables(said_by_the_pod(merged(values, LOADED), 0), "qa/api-key")
    assert environment(serve).items() >= wanted.items()


def test_the_images_are_of_the_pinned_versions(chart: Chart):
    pins = (ROOT / "infra" / "pins" / "engine-gpu.txt").read_text(encoding="utf-8").split()
    (version,) = [line.removeprefix("vllm==") for line in pins if line.startswith("vllm==")]
    assert engine(chart.one(MODEL, "Deployment"))["image"] == f"vllm/vllm-openai:v{version}"
    assert engine(chart.one(LLAMAFACTORY, "Deployment"))["image"] == "kuznia-engine:0.1.0"


def test_hot_adapters_are_let_in_by_who_shows_the_key_from_inside(chart: Chart):
    own = environment(engine(chart.one("follow.yaml", "Deployment")))
    assert own["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert own["KUZNIA_GATE_SECRET"] == own["VLLM_API_KEY"]
    assert "KUZNIA_GATE_SECRET" not in environment(engine(chart.one("adapter.yaml", "Deployment")))


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize(
    "more",
    [{}, {"model": {"kind": "adapter", "base": {"id": "org/base"}}}, SAMPLED],
    ids=["model", "adapter", "sampled"],
)
def test_llamafactory_is_told_the_same(chart: Chart, more: dict[str, Any], gpus: int):
    values = merged(LLAMAFACTORY, more)
    if "base" in values["model"]:
        values = merged(values, LOADED)
    sized = merged(values, _sized(gpus))
    serve = engine(chart.one(sized, "Deployment"))
    assert serve["command"] == ["python", "-m", "services.deployment.pod.cli"]
    assert serve["args"] == ["api", "/etc/kuznia/api.yaml"]
    written = yaml.safe_load(chart.one(sized, "ConfigMap")["data"]["api.yaml"])
    assert written == told.config(said_by_the_pod(sized, gpus))


def _sized(gpus: int) -> dict[str, Any]:
    if not gpus:
        return NO_GPU
    return {"resources": {part: {"nvidia.com/gpu": gpus} for part in ("limits", "requests")}}


def test_the_gate_is_the_pods_own(chart: Chart):
    here = (chart.path / "files" / "kuznia_gate.py").read_text(encoding="utf-8")
    assert here == (INSIDE / "engine" / "kuznia_gate.py").read_text(encoding="utf-8"), (
        "cp shared/forge/inside/engine/kuznia_gate.py charts/llama-factory-api/files/ && python -m infra.charts"
    )
    config = chart.one(MODEL, "ConfigMap")
    assert config["data"]["kuznia_gate.py"] == here
    (mount,) = [m for m in engine(chart.one(MODEL, "Deployment"))["volumeMounts"] if m["name"] == "config"]
    assert (
        mount["mountPath"]
        == environment(engine(chart.one(MODEL, "Deployment")))["PYTHONPATH"] + "/kuznia_gate.py"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_who_fetches_understands_what_the_chart_says(chart: Chart, name: str, tmp_path: Path):
    data = chart.one(f"{name}.yaml", "ConfigMap") if name != "follow" else _config(chart)
    if "fetch.json" not in data["data"]:
        assert name == "hub"
        return
    path = tmp_path / "fetch.json"
    path.write_text(data["data"]["fetch.json"])
    asked: Asked = read({"KUZNIA_FETCH": str(path)})
    assert asked.parts
    assert (asked.follow is None) == (name != "follow")
    assert asked.kind == chart.said(f"{name}.yaml")["model"].get("kind", "model")


def _config(chart: Chart) -> Manifest:
    return next(
        document
        for document in chart.documents("follow.yaml")
        if document["kind"] == "ConfigMap" and not document["metadata"]["name"].endswith("-adapter")
    )


@pytest.mark.parametrize("name", ["vllm", "llamafactory"])
def test_what_a_releaser_says_is_taken(chart: Chart, name: str, capability: Any):
    """The values that shared/kubernetes/releases makes of a workload."""
    capability("kubernetes", checks.available(), checks.NEEDS)
    document = {
        "release": "serve-team-x-llm-qa-v1-1-0-0-1",
        "model": "team-x.llm-qa.v1@1.0.0",
        "engine_model": "team-x.llm-qa.v1@1.0.0" if name == "vllm" else "team-x.llm-qa.v1",
        "artifact": {
            "uri": "gs://bucket/team-x/runs/r-1/final",
            "manifest_digest": "sha256:" + "a" * 64,
            "kind": "adapter",
            "base_model": "org/base",
        },
        "base_model": "org/base",
        "template": "chatml",
        "engine": name,
        "cause": "c",
    }
    workload = Workload(
        name="serve-team-x-llm-qa-v1-1-0-0-1",
        service="deployment",
        key="releases/team-x.llm-qa.v1",
        kind="server",
        module="services.deployment.pod",
        document=document,
        limits=Limits(deadline_seconds=600, grace_seconds=60),
        ready_path="/health",
        labels={"tenant": "team-x", "model": "team-x.llm-qa.v1"},
    )
    values = values_of(workload, KubernetesSettings())
    assert checks.faults(chart.documents(values), ("1.35",)) == []
    service = chart.one(values, "Service")
    assert service["metadata"]["name"] == workload.name
    assert service["metadata"]["labels"]["kuznia.dev/model"] == "team-x.llm-qa.v1"
