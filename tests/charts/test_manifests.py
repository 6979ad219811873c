"""What llama-factory-api renders is right on every Kubernetes, for every set of values that we show."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import yaml

from shared.forge.serving import READY_PATHS
from shared.kubernetes.manifests.network import PRIVATE
from tests import kubernetes_checks as checks
from tests.charts.llama_factory_api import (
    ADAPTER,
    EXAMPLES,
    LLAMAFACTORY,
    MODEL,
    NO_GPU,
    engine,
    environment,
    pod,
)
from tests.charts.rendering import Chart, merged

SHOWN, OLDEST = "1.35", "1.29"  # from 1.30 on, where preStop can sleep, all are rendered alike


@pytest.fixture(autouse=True)
def _validator(capability) -> None:
    capability("kubernetes", checks.available(), checks.NEEDS)


def test_every_example_is_known(chart: Chart):
    assert chart.examples() == [f"{name}.yaml" for name in EXAMPLES]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_right(chart: Chart, name: str):
    assert checks.faults(chart.documents(f"{name}.yaml"), (SHOWN,)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_right_on_every_kubernetes(chart: Chart, name: str):
    newer = [version for version in checks.VERSIONS if version not in (SHOWN, OLDEST)]
    assert checks.faults(chart.documents(f"{name}.yaml", OLDEST), (OLDEST,)) == []
    assert checks.faults(chart.documents(f"{name}.yaml"), newer) == []


def test_defaults_and_examples_pass_lint(chart: Chart):
    for values in (None, "adapter.yaml"):
        done = chart.lint(values)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_all_examples_pass_lint(chart: Chart):
    for name in EXAMPLES:
        done = chart.lint(f"{name}.yaml")
        assert done.returncode == 0, done.stdout


def test_the_chart_says_what_it_is(chart: Chart):
    said = chart.run("show", "chart", chart.path).stdout
    assert "apiVersion: v2" in said
    assert "type: application" in said
    assert chart.template(MODEL, "1.28").returncode != 0
    assert "chart requires kubeVersion" in chart.template(MODEL, "1.28").stderr


class TestPods:
    def test_weights_come_before_the_engine(self, chart: Chart):
        spec = pod(chart.one("adapter.yaml", "Deployment"))
        (fetch,) = spec["initContainers"]
        assert fetch["command"] == ["python", "-m", "services.deployment.pod.fetch"]
        told = json.loads(chart.one("adapter.yaml", "ConfigMap")["data"]["fetch.json"])
        said = chart.said("adapter.yaml")["model"]
        assert {part["name"]: part["url"] for part in told["parts"]} == {
            "weights": said["artifactPath"],
            "base": said["base"]["artifactPath"],
        }
        assert told["parts"][1]["manifest_digest"] == said["manifestDigest"]
        assert told["public_key"] == "/etc/kuznia/keys/cosign.pub"

    def test_only_who_fetches_may_write_them(self, chart: Chart):
        spec = pod(chart.one(MODEL, "Deployment"))
        (fetch,), (serve,) = spec["initContainers"], spec["containers"]
        mounts = [{mount["name"]: mount for mount in one["volumeMounts"]} for one in (fetch, serve)]
        assert "readOnly" not in mounts[0]["models"]
        assert mounts[1]["models"]["readOnly"]

    def test_mounted_weights(self, chart: Chart):
        deployment = chart.one("mounted.yaml", "Deployment")
        spec = pod(deployment)
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        bucket = volumes["weights"]["csi"]["volumeAttributes"]
        assert bucket["bucketName"] == "my-bucket"
        assert "only-dir=runs/r-0123456789abcdef/final" in bucket["mountOptions"]
        assert volumes["base"]["persistentVolumeClaim"] == {"claimName": "base-models", "readOnly": True}
        options = dict(word.partition("=")[::2] for word in bucket["mountOptions"].split(","))
        assert (options["uid"], options["gid"]) == ("10001", "10001"), "else they are root's"
        assert bucket["fileCacheCapacity"] == "50Gi", "else parallel downloads are refused"
        notes = deployment["spec"]["template"]["metadata"]["annotations"]
        assert notes["gke-gcsfuse/volumes"] == "true"
        assert notes["gke-gcsfuse/ephemeral-storage-limit"] == "0", (
            "else the cache is more than 5 GiB, and evicts"
        )
        own = merged(chart.said("mounted.yaml"), {"podAnnotations": {"gke-gcsfuse/cpu-limit": "2"}})
        notes = chart.one(own, "Deployment")["spec"]["template"]["metadata"]["annotations"]
        assert notes["gke-gcsfuse/cpu-limit"] == "2"
        told = json.loads(chart.one("mounted.yaml", "ConfigMap")["data"]["fetch.json"])
        assert [(part["url"], part["folder"]) for part in told["parts"]] == [
            ("file:///mnt/base", ""),
            ("file:///mnt/weights", ""),
        ]
        for container in (*spec["initContainers"], *spec["containers"]):
            mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            assert mounts["/mnt/base"]["subPath"] == "qwen2.5-7b-instruct"
            assert mounts["/mnt/weights"]["readOnly"]

    def test_streamed_weights(self, chart: Chart):
        serve = engine(chart.one("stream.yaml", "Deployment"))
        words = " ".join(serve["args"])
        assert words.startswith("serve s3://my-bucket/models/llm-large/2.1.0 ")
        assert "--load-format runai_streamer" in words
        assert "--tensor-parallel-size 4" in words
        assert serve["envFrom"] == [{"secretRef": {"name": "bucket-reader"}}]

    def test_weights_of_the_hub(self, chart: Chart):
        spec = pod(chart.one("hub.yaml", "Deployment"))
        assert "initContainers" not in spec
        (serve,) = spec["containers"]
        assert serve["args"][:2] == ["serve", "HuggingFaceTB/SmolLM2-135M-Instruct"]
        assert "--revision" in serve["args"]
        told = environment(serve)
        assert told["HF_HOME"] == "/models/huggingface"
        assert "HF_HUB_OFFLINE" not in told
        own = environment(engine(chart.one("follow.yaml", "Deployment")))
        assert own["HF_ENDPOINT"].startswith("https://artifactory.example.com/")
        assert own["HF_TOKEN"] == "hf-token/token"

    def test_who_follows_stands_beside_the_engine(self, chart: Chart):
        fetch, follow = pod(chart.one("follow.yaml", "Deployment"))["initContainers"]
        assert follow["restartPolicy"] == "Always", "a sidecar, begun before the engine and ended after it"
        assert "restartPolicy" not in fetch
        assert follow["command"] == ["python", "-m", "services.deployment.pod.follow"]
        assert environment(follow)["ENGINE_KEY"] == "llm-qa-key/api-key"
        assert "ENGINE_KEY" not in environment(fetch)

    def test_the_engine_is_not_asked_to_reach_what_was_fetched(self, chart: Chart):
        assert environment(engine(chart.one(MODEL, "Deployment")))["HF_HUB_OFFLINE"] == "1"

    def test_they_sleep_before_they_end(self, chart: Chart):
        for version, stop in (
            ("1.35", {"sleep": {"seconds": 15}}),
            ("1.29", {"exec": {"command": ["sleep", "15"]}}),
        ):
            assert engine(chart.one(MODEL, "Deployment", version))["lifecycle"]["preStop"] == stop
        assert "lifecycle" not in engine(chart.one(merged(MODEL, {"drainSeconds": 0}), "Deployment"))

    def test_spot_and_accelerators(self, chart: Chart):
        spec = pod(chart.one("adapter.yaml", "Deployment"))
        assert spec["nodeSelector"] == {
            "cloud.google.com/gke-accelerator": "nvidia-l4",
            "cloud.google.com/gke-spot": "true",
        }
        assert {one["key"] for one in spec["tolerations"]} == {"nvidia.com/gpu", "cloud.google.com/gke-spot"}
        assert "tolerations" not in pod(chart.one("llamafactory.yaml", "Deployment"))

    def test_gpus_of_any_maker_count(self, chart: Chart):
        limits = {part: {"nvidia.com/gpu": None, "amd.com/gpu": 2} for part in ("limits", "requests")}
        serve = engine(chart.one(merged(MODEL, {"resources": limits}), "Deployment"))
        assert "--tensor-parallel-size" in serve["args"]
        assert "--enforce-eager" not in serve["args"]

    def test_one_after_the_other_where_no_gpu_is_to_spare(self, chart: Chart):
        assert chart.one("stream.yaml", "Deployment")["spec"]["strategy"] == {"type": "Recreate"}

    def test_what_it_is_told_anew_makes_new_pods(self, chart: Chart):
        other = merged(LLAMAFACTORY, {"model": {"generation": {"max_new_tokens": 9}}})
        sums = {
            chart.one(values, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for values in (LLAMAFACTORY, other)
        }
        assert len(sums) == 2


class TestProbes:
    def test_ready_is_who_names_its_models(self, chart: Chart):
        open_, keyed = (engine(chart.one(name, "Deployment")) for name in (MODEL, "adapter.yaml"))
        assert open_["startupProbe"]["httpGet"] == {"path": "/v1/models", "port": "http"}
        asks = keyed["startupProbe"]["exec"]["command"]
        assert asks[:2] == ["python3", "-c"]
        assert "/v1/models" in asks[2]
        assert 'os.environ["VLLM_API_KEY"]' in asks[2]
        assert environment(keyed)["VLLM_API_KEY"] == "serve-team-x-llm-qa-v1-1-0-0/api-key"

    @pytest.mark.parametrize(("values", "path"), [(MODEL, "/health"), (LLAMAFACTORY, "/docs")])
    def test_alive_is_asked_where_no_key_is_needed(self, chart: Chart, values: dict[str, Any], path: str):
        assert path in READY_PATHS.values()
        serve = engine(chart.one(values, "Deployment"))
        assert {serve[name]["httpGet"]["path"] for name in ("readinessProbe", "livenessProbe")} == {path}

    def test_loading_may_take_its_time(self, chart: Chart):
        probe = engine(chart.one(merged(MODEL, {"probes": {"startupSeconds": 95}}), "Deployment"))[
            "startupProbe"
        ]
        assert probe["failureThreshold"] * probe["periodSeconds"] == 100


class TestAround:
    def test_the_service_leads_to_the_engine(self, chart: Chart):
        spec = chart.one("hub.yaml", "Service")["spec"]
        assert (spec["type"], spec["ports"][0]["port"], spec["ports"][0]["targetPort"]) == (
            "LoadBalancer",
            80,
            "http",
        )
        assert engine(chart.one("hub.yaml", "Deployment"))["ports"][0]["containerPort"] == 8000

    def test_scaled_by_the_cpu(self, chart: Chart):
        spec = chart.one("llamafactory.yaml", "HorizontalPodAutoscaler")["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 5)
        (metric,) = spec["metrics"]
        assert metric["resource"] == {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 70},
        }

    def test_scaled_by_who_waits(self, chart: Chart):
        metrics = chart.one("follow.yaml", "HorizontalPodAutoscaler")["spec"]["metrics"]
        assert [metric["pods"]["metric"]["name"] for metric in metrics[1:]] == [
            "vllm_num_requests_waiting",
            "vllm_kv_cache_usage_perc",
        ]

    def test_to_zero_and_back(self, chart: Chart):
        spec = chart.one("stream.yaml", "ScaledObject")["spec"]
        assert spec["minReplicaCount"] == 0
        queries = {trigger["name"]: trigger["metadata"]["query"] for trigger in spec["triggers"]}
        assert queries["wake"] == chart.said("stream.yaml")["autoscaling"]["keda"]["wakeQuery"]
        name = chart.one("stream.yaml", "Deployment")["metadata"]["name"]
        assert queries["requests-waiting"] == (
            f'sum(vllm:num_requests_waiting{{namespace="team-x-api",pod=~"{name}-.+"}})'
        )
        assert "cpu" not in [trigger["type"] for trigger in spec["triggers"]]

    def test_one_pod_has_no_budget(self, chart: Chart):
        assert "PodDisruptionBudget" not in chart.kinds(MODEL)
        spec = chart.one("follow.yaml", "PodDisruptionBudget")["spec"]
        assert spec["maxUnavailable"] == 1

    def test_who_may_come_in(self, chart: Chart):
        def names(values: Any) -> list[str]:
            policy = next(d for d in chart.documents(values) if d["kind"] == "NetworkPolicy")
            peers = policy["spec"]["ingress"][0]["from"]
            return [
                peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
                for peer in peers
                if "namespaceSelector" in peer
            ]

        assert names(MODEL) == ["kuznia", "monitoring", "gmp-system"]
        assert names("mounted.yaml") == ["kuznia", "monitoring", "gmp-system", "ingress-nginx"]
        assert "gateways" in names("follow.yaml")

    def test_where_it_may_go(self, chart: Chart):
        def ports(values: Any) -> set[int]:
            policy = next(d for d in chart.documents(values) if d["kind"] == "NetworkPolicy")
            return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}

        claim = merged(MODEL, {"model": {"artifactPath": "pvc://models/qa"}})
        assert ports(claim) == {53}
        assert ports(MODEL) == {53, 80, 443, 987, 988}
        assert ports("follow.yaml") >= {8500}

    def test_private_networks_are_the_same_as_for_trainings(self, chart: Chart):
        policy = next(d for d in chart.documents(MODEL) if d["kind"] == "NetworkPolicy")
        blocks = [
            peer["ipBlock"] for rule in policy["spec"]["egress"] for peer in rule["to"] if "ipBlock" in peer
        ]
        (kept,) = [block["except"] for block in blocks if "except" in block]
        assert sorted(kept) == sorted(PRIVATE)

    def test_google_s_gateway_is_told_where_to_ask(self, chart: Chart):
        (rule,) = chart.one("follow.yaml", "HTTPRoute")["spec"]["rules"]
        assert "timeouts" not in rule, "Google's has a policy for it"
        name = rule["backendRefs"][0]["name"]
        health = chart.one("follow.yaml", "HealthCheckPolicy")["spec"]
        assert health["targetRef"]["name"] == name
        assert health["default"]["config"]["httpHealthCheck"]["requestPath"] == "/health"
        backend = chart.one("follow.yaml", "GCPBackendPolicy")["spec"]
        assert (backend["targetRef"]["name"], backend["default"]["timeoutSec"]) == (name, 600)
        plain = merged(chart.said("follow.yaml"), {"httpRoute": {"google": {"enabled": False}}})
        assert "HealthCheckPolicy" not in chart.kinds(plain)
        assert chart.one(plain, "HTTPRoute")["spec"]["rules"][0]["timeouts"] == {"request": "600s"}

    def test_the_route_leads_to_what_clients_ask_only(self, chart: Chart):
        (rule,) = chart.one("follow.yaml", "HTTPRoute")["spec"]["rules"]
        paths = [match["path"]["value"] for match in rule["matches"]]
        assert "/v1/chat/completions" in paths
        assert not [path for path in paths if "lora" in path or path in ("/", "/metrics")]

    def test_an_account_of_its_own_or_the_one_that_is_there(self, chart: Chart):
        account = chart.one("mounted.yaml", "ServiceAccount")
        assert account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"].startswith("engine@")
        assert "ServiceAccount" not in chart.kinds("adapter.yaml")
        assert pod(chart.one("adapter.yaml", "Deployment"))["serviceAccountName"] == "engine"

    def test_labels_of_the_operator_go_before_ours(self, chart: Chart):
        values = merged(MODEL, {"commonLabels": {"kuznia.dev/model": "other", "team": "x"}})
        for document in chart.documents(values):
            if document["kind"] != "Pod":
                assert document["metadata"]["labels"]["kuznia.dev/model"] == "other"
                assert document["metadata"]["labels"]["team"] == "x"

    def test_a_pod_s_own_label_goes_before_all(self, chart: Chart):
        values = merged(MODEL, {"commonLabels": {"team": "x"}, "podLabels": {"team": "y"}})
        deployment = chart.one(values, "Deployment")
        assert deployment["metadata"]["labels"]["team"] == "x"
        assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == "y"


def test_a_service_monitor_has_the_shape_of_a_pod_monitor(chart: Chart):
    """No schema of it is here; its endpoints are those of a PodMonitor, whose schema is."""
    monitor = chart.one("follow.yaml", "ServiceMonitor")
    shaped = {**monitor, "kind": "PodMonitor", "spec": dict(monitor["spec"])}
    shaped["spec"]["podMetricsEndpoints"] = shaped["spec"].pop("endpoints")
    assert list(checks.schema_faults(shaped)) == []
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_the_adapter_s_rules_make_the_metrics_that_the_scaler_reads(chart: Chart):
    rules = next(d for d in chart.documents("follow.yaml") if d["metadata"]["name"].endswith("-adapter"))
    assert rules["metadata"]["namespace"] == "monitoring"
    (rule,) = yaml.safe_load(rules["data"]["config.yaml"])["rules"]
    series = re.search(r'__name__=~"(.*?)"', rule["seriesQuery"])
    assert series
    made = {
        re.sub(rule["name"]["matches"], rule["name"]["as"].replace("${1}", r"\1"), name)
        for name in ("vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
        if re.search(series[1], name)
    }
    read = chart.one("follow.yaml", "HorizontalPodAutoscaler")["spec"]["metrics"][1:]
    assert made == {metric["pods"]["metric"]["name"] for metric in read}


def test_without_gpus_nothing_asks_for_one(chart: Chart):
    document = chart.one(merged(ADAPTER, NO_GPU), "Deployment")
    assert "nvidia.com/gpu" not in json.dumps(document)


def test_the_schema_itself_is_one(chart: Chart):
    schema = json.loads((chart.path / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
