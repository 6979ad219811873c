"""A server's workload as values: what the real chart makes of them, and which word goes before which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Reject
from shared.kubernetes.manifests import labels
from shared.kubernetes.releases.chart import chart_digest, operator_values
from shared.kubernetes.releases.program import Helm
from shared.kubernetes.releases.values import (
    MAX_RELEASE,
    digest_of,
    image_of,
    merged,
    release_name,
    secret_name,
    values_of,
)
from shared.ports.cluster import Workload
from tests import kubernetes_checks
from tests.shared.kubernetes.releasing import (
    CHART,
    DIGEST,
    KEY,
    MODEL,
    NAME,
    NAMESPACE,
    manifests,
    of_kind,
    server,
    settings,
)

VERSION = ("1.33",)  # one is enough here: the chart's own tests take them all


def rendered(helm: str, workload: Workload, **of_settings: Any) -> list[dict[str, Any]]:
    chosen = settings(**of_settings)
    values = values_of(workload, chosen, operator_values(chosen))
    words = [release_name(workload.name), CHART, "--namespace", NAMESPACE]
    return manifests(Helm(chosen, helm).render(words, values))


@pytest.mark.parametrize("kind", ["adapter", "model"])
@pytest.mark.parametrize("engine", ["vllm", "llamafactory"])
def test_the_chart_makes_a_right_server_of_them(helm: str, kind: str, engine: str):
    documents = rendered(helm, server(kind=kind, engine=engine), spot=True, accelerator="nvidia-l4")
    assert kubernetes_checks.faults(documents, VERSION) == []
    deployment = of_kind(documents, "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert (deployment["metadata"]["name"], deployment["metadata"]["namespace"]) == (NAME, NAMESPACE)
    assert of_kind(documents, "Service")["metadata"]["name"] == NAME
    assert pod["serviceAccountName"] == "engine"
    assert pod["nodeSelector"]["cloud.google.com/gke-accelerator"] == "nvidia-l4"
    assert pod["terminationGracePeriodSeconds"] == 60
    assert deployment["spec"]["progressDeadlineSeconds"] == 600
    assert DIGEST in json.dumps(documents)
    assert secret_name(NAME) in json.dumps(pod)
    assert KEY not in json.dumps(documents)


def test_the_base_is_that_which_it_was_trained_on(helm: str):
    commit = "b" * 40
    artifact = server().document["artifact"] | {"base_revision": commit}
    engine = of_kind(rendered(helm, server(artifact=artifact)), "Deployment")
    assert commit in json.dumps(engine["spec"]["template"])


def test_the_watch_finds_it_by_its_labels(helm: str):
    workload = server()
    found = of_kind(rendered(helm, workload), "Deployment")
    ours = {"name": NAME, "service": "deployment"}
    for metadata in (found["metadata"], found["spec"]["template"]["metadata"]):
        assert metadata["labels"][labels.WORKLOAD] == ours["name"]
        assert metadata["labels"][labels.OURS + "service"] == ours["service"]
        assert metadata["labels"][labels.TENANT] == "team-x"
        assert metadata["labels"][labels.OURS + "model"] == MODEL
        assert metadata["labels"][labels.KEY_DIGEST] == labels.key_digest(workload.key)
        assert metadata["annotations"][labels.DIGEST] == labels.spec_digest(workload)
        assert metadata["annotations"][labels.KEY] == workload.key


def test_what_model_yaml_says_of_its_deployment_reaches_the_cluster(helm: str):
    asked = {"replicas": 2, "autoscaling": {"min_replicas": 2, "max_replicas": 7, "requests_waiting": 4}}
    documents = rendered(helm, server(deployment=asked))
    scaler = of_kind(documents, "HorizontalPodAutoscaler")
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 7)
    assert "vllm_num_requests_waiting" in json.dumps(scaler)
    fixed = of_kind(rendered(helm, server(deployment={"replicas": 3})), "Deployment")
    assert fixed["spec"]["replicas"] == 3


def test_an_operators_values_go_before_the_settings_and_behind_the_registry(helm: str, tmp_path: Path):
    own = tmp_path / "values.yaml"
    own.write_text(
        "priorityClassName: serving\nreplicaCount: 2\nmodel: {id: other, base: {load: fuse, artifactPath: gs://acme-kuznia/base}}\n"
        "resources: {limits: {memory: 24Gi}}\n"
    )
    values = values_of(
        server(deployment={"replicas": 5}),
        settings(priority_class="low"),
        operator_values(settings(chart_values=str(own))),
    )
    assert values["priorityClassName"] == "serving"
    assert values["replicaCount"] == 5
    assert values["model"]["id"] == MODEL
    assert values["model"]["base"] == {
        "id": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "revision": "",
        "load": "fuse",
        "artifactPath": "gs://acme-kuznia/base",
    }
    deployment = of_kind(rendered(helm, server(), chart_values=str(own)), "Deployment")
    limits = deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert (limits["memory"], limits["cpu"]) == ("24Gi", "4")


def test_settings_reach_the_pod(helm: str):
    documents = rendered(
        helm,
        server(kind="model", engine="llamafactory"),
        engine_image=f"europe-docker.pkg.dev/p/kuznia/engine:1.2@{DIGEST}",
        image_pull_secret="pull",
        priority_class="serving",
        port=9000,
        hf_secret="hub",
        server_service_account="{tenant}-engine",
    )
    pod = of_kind(documents, "Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"europe-docker.pkg.dev/p/kuznia/engine@{DIGEST}"
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["priorityClassName"] == "serving"
    assert pod["serviceAccountName"] == "team-x-engine"
    assert '"secretKeyRef": {"key": "token", "name": "hub"}' in json.dumps(pod, sort_keys=True)
    assert of_kind(documents, "Service")["spec"]["ports"][0]["port"] == 9000


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("engine", ("engine", "", "")),
        ("engine:1.2", ("engine", "1.2", "")),
        ("registry:5000/k/engine", ("registry:5000/k/engine", "", "")),
        ("registry:5000/k/engine:1@sha256:ab", ("registry:5000/k/engine", "1", "sha256:ab")),
    ],
)
def test_an_image_in_the_charts_words(image: str, expected: tuple[str, str, str]):
    assert tuple(image_of(image).values()) == expected


def test_a_long_name_is_cut_for_helm_and_stays_one_of_its_kind():
    long, other = f"serve-{'x' * 57}", f"serve-{'x' * 56}y"
    assert len(long) == len(other) == 63
    assert len(release_name(long)) == MAX_RELEASE
    assert release_name(long) != release_name(other)
    assert release_name(NAME) == NAME


def test_a_long_name_is_a_right_server_too(helm: str):
    long = f"serve-{'x' * 57}"
    documents = rendered(helm, server(long))
    assert kubernetes_checks.faults(documents, VERSION) == []
    assert of_kind(documents, "Deployment")["metadata"]["name"] == long


def test_digests_do_not_ask_for_an_order():
    assert digest_of({"a": 1, "b": {"c": 2, "d": 3}}) == digest_of({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_mappings_are_merged_and_all_else_is_replaced():
    assert merged({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2]}, "e": None}) == {
        "a": {"b": 1, "c": [2]},
        "d": 1,
        "e": None,
    }


def test_an_engine_that_the_chart_has_not_is_refused():
    with pytest.raises(Reject, match="engine is 'tgi'; the chart has vllm and llamafactory"):
        values_of(server(engine="tgi"), settings())


@pytest.mark.parametrize("content", ["- a list", "a: [", "\x00"])
def test_a_file_of_values_that_is_none_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "values.yaml"
    path.write_text(content)
    with pytest.raises(Reject, match="KUZNIA_K8S_CHART_VALUES"):
        operator_values(settings(chart_values=str(path)))


def test_an_empty_file_of_values_is_none(tmp_path: Path):
    (tmp_path / "values.yaml").write_text("# nothing yet\n")
    assert operator_values(settings(chart_values=str(tmp_path / "values.yaml"))) == {}
    assert operator_values(settings()) == {}


def test_a_chart_is_known_by_its_files(tmp_path: Path):
    with pytest.raises(Reject, match=r"no Chart\.yaml"):
        chart_digest(str(tmp_path))
    (tmp_path / "Chart.yaml").write_text("name: a\n")
    before = chart_digest(str(tmp_path))
    assert before == chart_digest(str(tmp_path))
    (tmp_path / "values.yaml").write_text("a: 1\n")
    assert chart_digest(str(tmp_path)) != before
    assert chart_digest("oci://registry.example/charts/llama-factory-api:1.2.0").endswith(":1.2.0")
