"""Values that cannot be used are refused with words that name the mistake; those of the brief are there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.llama_factory_api import ADAPTER, DIGEST, EXAMPLES, LLAMAFACTORY, MODEL, NAME, NO_GPU
from tests.charts.rendering import ROOT, Chart, merged

CHART = ROOT / "charts" / NAME
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
# What the operator hands on to Kubernetes as it is, whose own schema knows it.
HANDED_ON = {
    "global", "affinity", "tolerations.[]", "networkPolicy.controllers.[]", "networkPolicy.extraIngress.[]",
    "networkPolicy.extraEgress.[]", "extraEnv.[].valueFrom",
}  # fmt: skip

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"modle": {}}, "'modle'"),
    ({"model": {"artifactpath": "gs://b/x"}}, "'artifactpath'"),
    ({"engine": "sglang"}, "'vllm', 'llamafactory'"),
    ({"model": {"id": "Team X"}}, "'Team X' does not match"),
    ({"model": {"artifactPath": "http://host/x"}}, "'http://host/x' does not match"),
    ({"model": {"artifactPath": "gs://bucket"}}, "'gs://bucket' does not match"),
    ({"model": {"manifestDigest": "0a54"}}, "'0a54' does not match"),
    ({"model": {"load": "copy"}}, "'copy' is not one of"),
    ({"model": {"generation": {"max_tokens": 5}}}, "'max_tokens'"),
    ({"replicaCount": "2"}, "'2' is not of type 'integer'"),
    ({"resources": {"limits": {"memory": "16GB"}}}, "'16GB' is not valid"),
    ({"resources": {"limits": {"gpu": 1}}}, "'gpu' does not match"),
    ({"service": {"port": 70000}}, "70000 is greater than the maximum"),
    ({"env": {"HF_TOKEN": "hf_x"}}, "'HF_TOKEN' was unexpected"),
    ({"ingress": {"hosts": [{"host": "a.example.com"}]}}, "'paths' is a required property"),
    ({"ingress": {"hosts": [{"host": "a", "paths": [{"path": "/", "pathType": "Regex"}]}]}}, "'Regex'"),
    ({"autoscaling": {"targetCPUUtilization": 50}}, "'targetCPUUtilization' was unexpected"),
    ({"podSecurityContext": {"runAsNonRoot": False}}, "True was expected"),
    ({"vllm": {"maxLoraRank": 24}}, "24 is not one of"),
    ({"podDisruptionBudget": {"maxUnavailable": "half"}}, "'half' is not valid"),
]


@pytest.mark.parametrize(("values", "words"), MISTAKES, ids=lambda value: str(value)[:60])
def test_the_schema_names_the_mistake(values: dict[str, Any], words: str):
    errors = list(jsonschema.Draft7Validator(SCHEMA).iter_errors(values))
    assert words in " ".join(error.message for error in errors)


def test_helm_says_it_too_all_at_once(chart: Chart):
    told = chart.refused({"modle": {}, "engine": "sglang", "model": {"artifactpath": "", "id": "Team X"}})
    assert "'modle' not allowed" in told
    assert "at '/engine': value must be one of 'vllm', 'llamafactory'" in told
    assert "at '/model': additional properties 'artifactpath' not allowed" in told
    assert "at '/model/id': 'Team X' does not match pattern" in told


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a schema, by where it lies."""
    if schema.get("type") == "object":
        yield path, schema
    for name, below in schema.get("properties", {}).items():
        yield from objects(below, f"{path}.{name}".strip("."))
    if "items" in schema:
        yield from objects(schema["items"], f"{path}.[]")
    for below in schema.get("oneOf", []):
        yield from objects(below, path)


def test_every_object_is_closed():
    open_ = {path for path, schema in objects(SCHEMA) if "additionalProperties" not in schema}
    assert open_ == HANDED_ON
    assert not [path for path, schema in objects(SCHEMA) if schema.get("additionalProperties") is True]


def test_what_the_schema_knows_is_in_the_values_and_the_other_way_round():
    known = {path: set(schema.get("properties", {})) for path, schema in objects(SCHEMA)}
    optional = {"global", "tolerance", "selectPolicy", "supplementalGroups", "localhostProfile"}

    def compare(values: dict[str, Any], path: str) -> None:
        assert set(values) | (known[path] & optional) >= known[path] - optional, path
        assert set(values) <= known[path], path
        for name, below in values.items():
            inner = f"{path}.{name}".strip(".")
            if isinstance(below, dict) and known.get(inner):
                compare(below, inner)

    compare(VALUES, "")


def test_the_brief_s_values_keep_their_names_and_meaning(chart: Chart):
    """As the sketch of the chart has them; the digest is what it did not know of."""
    brief = {
        "image": {"repository": "registry.example.com/llm/llama-factory", "tag": "api-0.1.0", "pullPolicy": "IfNotPresent"},
        "replicaCount": 1,
        "resources": {
            "limits": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": 1},
            "requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": 1},
        },
        "service": {"type": "ClusterIP", "port": 8000},
        "model": {"id": "team-x/llm-qa-v1", "artifactPath": "gs://my-bucket/models/team-x/llm-qa-v1"},
        "env": {"HF_ENDPOINT": "", "HF_TOKEN_SECRET_NAME": "hf-token", "HF_TOKEN_SECRET_KEY": "token"},
        "ingress": {
            "enabled": False,
            "className": "",
            "hosts": [{"host": "llama-api.example.com", "paths": [{"path": "/", "pathType": "Prefix"}]}],
            "tls": [],
        },
    }  # fmt: skip
    document = chart.one(merged(brief, {"model": {"manifestDigest": DIGEST}}), "Deployment")
    spec = document["spec"]["template"]["spec"]
    (serve,) = spec["containers"]
    assert document["spec"]["replicas"] == 1
    assert (serve["image"], serve["imagePullPolicy"]) == (
        "registry.example.com/llm/llama-factory:api-0.1.0",
        "IfNotPresent",
    )
    assert serve["resources"] == brief["resources"]
    assert "team-x/llm-qa-v1" in serve["args"]
    token = next(variable for variable in serve["env"] if variable["name"] == "HF_TOKEN")
    assert token["valueFrom"]["secretKeyRef"] == {"name": "hf-token", "key": "token"}


# Values, and a piece of each fault that they have; nothing else may be told.
CLASHES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("nothing", {}, ["model.id is empty", "model.artifactPath is empty"]),
    (
        "no base, no digest",
        merged(MODEL, {"model": {"kind": "adapter", "manifestDigest": ""}}),
        ["model.base.id is empty", "model.manifestDigest is empty"],
    ),
    (
        "a base of a whole model",
        merged(MODEL, {"model": {"base": {"id": "org/base"}, "revision": "a" * 40, "load": "hub"}}),
        ["model.base is set, and model.kind is model", "model.load is hub, and model.artifactPath begins with gs://: hub takes hf",
         "model.manifestDigest is set, and what the hub has carries no manifest"],
    ),
    (
        "two who say where",
        merged(ADAPTER, {"model": {"verify": "none", "version": "1.0.0", "registry": {"url": "http://kuznia:8500", "follow": True}}}),
        ["model.artifactPath and model.registry.url are both set", "model.manifestDigest and model.registry.url are both set",
         "model.verify is none, and model.registry.url is set", "model.registry.follow needs",
         "model.registry.follow and model.version are both set"],
    ),
    (
        "a streamed adapter",
        merged(ADAPTER, {"model": {"load": "stream", "base": {"revision": "b" * 40, "artifactPath": "gs://bucket/base"}}}),
        ["model.load is stream, and model.kind is adapter", "model.base.revision is set, and only the hub has revisions"],
    ),
    (
        "streamed by an engine that cannot",
        merged(LLAMAFACTORY, {"model": {"load": "stream", "template": ""}, "vllm": {"hotLoad": True}, "monitoring": {"podMonitor": True},
                              "autoscaling": {"enabled": True, "kind": "keda", "kvCacheUsage": {"enabled": True}}}),
        ["model.load is stream, and engine is llamafactory", "model.template is empty", "monitoring.podMonitor is on",
         "vllm.hotLoad is on, and engine is llamafactory", "vllm.hotLoad is on, and apiKey.secretName is empty",
         "autoscaling by requestsWaiting or kvCacheUsage reads vLLM's metrics, and engine is llamafactory",
         "autoscaling.keda.serverAddress is empty"],
    ),
    (
        "signed and not looked at",
        merged(MODEL, {"model": {"verify": "none", "signature": {"configMapName": "keys"}}}),
        ["model.signature is set, and nothing is verified"],
    ),
    (
        "GPUs that do not fit",
        merged(MODEL, {"resources": {"requests": {"nvidia.com/gpu": 2}}, "vllm": {"tensorParallelSize": 4}}),
        ["vllm.tensorParallelSize is 4, and resources.limits has 1 GPUs", "name different numbers of nvidia.com/gpu"],
    ),
    (
        "a GPU's node without a GPU",
        merged(merged(merged(MODEL, NO_GPU), {"image": {"repository": ""}}), {"gpu": {"accelerator": "nvidia-l4"}}),
        ["gpu.accelerator is set, and resources.limits has no GPU", "vllm/vllm-openai needs one: name an image"],
    ),
    (
        "from zero without a word",
        merged(MODEL, {"autoscaling": {"enabled": True, "kind": "keda", "minReplicas": 0, "targetCPUUtilizationPercentage": 0}}),
        ["autoscaling.minReplicas is 0, and autoscaling.keda.wakeQuery is empty", "autoscaling.kind is keda, and nothing says by what"],
    ),
    (
        "an HPA of nothing",
        merged(MODEL, {"autoscaling": {"enabled": True, "minReplicas": 0, "maxReplicas": 1, "keda": {"wakeQuery": "x"},
                                       "targetCPUUtilizationPercentage": 0}}),
        ["autoscaling.minReplicas is 0, and autoscaling.kind is hpa", "autoscaling.keda.wakeQuery is set, and autoscaling.kind is hpa",
         "autoscaling is on, and nothing says by what"],
    ),
    (
        "a percentage of nothing, the wrong way round",
        merged(MODEL, {"resources": {"requests": {"cpu": None}}, "autoscaling": {"enabled": True, "minReplicas": 9}}),
        ["autoscaling.minReplicas is 9, above autoscaling.maxReplicas (5)", "resources.requests has no cpu"],
    ),
    (
        "two open doors, and no way through",
        merged(MODEL, {"ingress": {"enabled": True, "hosts": []}, "httpRoute": {"enabled": True}, "service": {"type": "NodePort"},
                       "networkPolicy": {"controllers": []}}),
        ["ingress and httpRoute and service.type: NodePort leads to an engine without a key", "ingress and httpRoute are both on",
         "ingress is on, and ingress.hosts is empty", "httpRoute is on, and httpRoute.parentRefs is empty",
         "networkPolicy.controllers is empty"],
    ),
    (
        "small things",
        merged(MODEL, {"serviceAccount": {"create": False, "gcpServiceAccount": "a@p.iam.gserviceaccount.com"}, "drainSeconds": 120,
                       "extraEnv": [{"name": "WANDB_API_KEY", "value": "x"}, {"name": "TOKENIZERS_PARALLELISM", "value": "true"}],
                       "commonLabels": {"app.kubernetes.io/name": "x"}}),
        ["serviceAccount.create is off", "drainSeconds is 120, and terminationGracePeriodSeconds 120",
         "extraEnv: WANDB_API_KEY has its secret in clear", "commonLabels: app.kubernetes.io/name is the chart's own"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"), [clash[1:] for clash in CLASHES], ids=[clash[0] for clash in CLASHES]
)
def test_values_that_do_not_go_together(chart: Chart, values: dict[str, Any], words: list[str]):
    told = chart.refused(values)
    faults = [line.strip() for line in told.splitlines() if line.startswith("  - ")]
    for piece in words:
        assert [fault for fault in faults if piece in fault], f"{piece!r} is not in {faults}"
    assert len(faults) == len(words), faults
    assert f"{len(words)} of the values cannot be used" in told


def test_notes_say_how_to_ask(chart: Chart):
    told = chart.notes("follow.yaml")
    assert "URL=https://llm-qa.example.com" in told
    assert "get secret llm-qa-key" in told
    assert "helm test serve" in told
    assert "There is no key" in chart.notes(MODEL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_say_what_they_are_for(name: str):
    assert Path(CHART / "ci" / f"{name}.yaml").read_text(encoding="utf-8").startswith("# ")
