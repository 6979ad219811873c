"""The platform's chart: whole sets of values against the schemas, and what it says held against the code."""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any

import pytest
import yaml

from infra import chart_services
from services import worker
from services.cli.main import SECTIONS
from services.discovery import discover
from shared import settings as core
from shared.google import settings as google
from shared.kubernetes import settings as kubernetes
from tests import kubernetes_checks
from tests.charts.kuznia import PlatformChart
from tests.charts.rendering import NAMESPACE, Chart, Document, merged

SETS = ["apart.yaml", "push.yaml", "routes.yaml", "together.yaml"]
TOKENS = re.compile(r"Deployment \S+: template: automountServiceAccountToken is not false")
BARE: dict[str, Any] = {
    "google": {"project": "my-kuznia-project", "artifacts": "gs://my-kuznia-project-artifacts"},
    "training": {"image": "kuznia-trainer:0.1.0"},
    "tenants": {"acme": {}},
}


@pytest.fixture(scope="module")
def chart(helm: str, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return PlatformChart(helm, tmp_path_factory.mktemp("kuznia"))


def of(documents: list[Document], kind: str, name: str, namespace: str = NAMESPACE) -> Document:
    (found,) = [
        document
        for document in documents
        if document["kind"] == kind
        and document["metadata"]["name"] == name
        and document["metadata"].get("namespace", namespace) == namespace
    ]
    return found


def names(documents: list[Document], kind: str) -> set[str]:
    return {document["metadata"]["name"] for document in documents if document["kind"] == kind}


def container(deployment: Document) -> dict[str, Any]:
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return found


def variables(documents: list[Document]) -> dict[str, str]:
    return of(documents, "ConfigMap", "kuznia")["data"]


class TestManifests:
    def test_every_set_is_listed(self, chart: Chart):
        assert chart.examples() == SETS

    @pytest.mark.parametrize("values", SETS)
    def test_lint(self, chart: Chart, values: str):
        done = chart.lint(values)
        assert done.returncode == 0, done.stdout

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("values", "version"), [("apart.yaml", "1.29"), *((values, "1.35") for values in SETS)]
    )
    def test_every_manifest_is_right(self, chart: Chart, values: str, version: str):
        documents = chart.documents(values, version)
        found = kubernetes_checks.faults(documents, (version,))
        launching = {name for name, service in chart_services.services().items() if service["launches"]}
        allowed = launching | {"front", "platform", "reconciler"}
        unexpected = [
            fault
            for fault in found
            if not TOKENS.match(fault) or fault.split("/")[1].split(":")[0] not in allowed
        ]
        assert unexpected == []

    def test_an_old_cluster_is_refused(self, chart: Chart):
        assert "kubeVersion: >=1.29.0-0" in chart.template("apart.yaml", "1.28").stderr

    def test_labels_and_annotations_of_the_operator_reach_everything(self, chart: Chart):
        for document in chart.documents("routes.yaml"):
            assert document["metadata"]["labels"]["cost-centre"] == "4711", document["metadata"]["name"]
            assert document["metadata"]["annotations"]["kuznia.example.com/owner"] == "ml-platform"


class TestParts:
    def test_the_list_of_services_is_the_codes(self):
        assert chart_services.main(["--check"]) == 0
        assert set(chart_services.services()) == set(discover())

    def test_a_stale_list_is_found(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path
    ):
        monkeypatch.setattr(chart_services, "ROOT", tmp_path)
        monkeypatch.setattr(chart_services, "FILE", tmp_path / "services.yaml")
        assert chart_services.main(["--check"]) == 1
        assert "services.yaml is stale. To mend: python -m infra.chart_services" in capsys.readouterr().err
        assert chart_services.main([]) == 0
        assert chart_services.main(["--check"]) == 0

    def test_a_pod_a_service_each_under_its_own_account(self, chart: Chart):
        documents = chart.documents("apart.yaml")
        assert names(documents, "Deployment") == {*discover(), "front", "gateway"}
        assert names(documents, "ServiceAccount") == {*discover(), "front", "trainer", "engine"}
        for deployment in (document for document in documents if document["kind"] == "Deployment"):
            name = deployment["metadata"]["name"]
            account = "front" if name == "gateway" else name
            assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account

    def test_all_in_one(self, chart: Chart):
        documents = chart.documents("together.yaml")
        assert names(documents, "Deployment") == {"platform"}
        assert container(of(documents, "Deployment", "platform"))["command"] == ["tini", "--", "kuznia", "up"]
        for service in ("kuznia", "gateway"):
            selector = of(documents, "Service", service)["spec"]["selector"]
            assert selector["app.kubernetes.io/name"] == "platform"

    def test_pushed_to(self, chart: Chart):
        documents = chart.documents("push.yaml")
        assert names(documents, "Service") == {*discover(), "kuznia", "gateway"}
        reconciler = of(documents, "Deployment", "reconciler")
        assert container(reconciler)["command"][5:] == ["reconcile", *sorted(discover())]
        (before,) = [
            each
            for each in reconciler["spec"]["template"]["spec"]["initContainers"]
            if each["name"] == "before"
        ]
        assert before["command"][5:] == ["subscribe", *sorted(discover())]
        assert container(of(documents, "Deployment", "webhook"))["env"] == [
            {"name": "KUZNIA_PORT", "value": "8080"}
        ]
        assert of(documents, "Deployment", "webhook")["spec"]["replicas"] == 2
        assert of(documents, "PodDisruptionBudget", "webhook")["spec"]["maxUnavailable"] == 1

    @pytest.mark.parametrize("values", SETS)
    def test_every_command_is_one_of_ours(self, chart: Chart, values: str):
        commands = [command for sections in SECTIONS.values() for command in sections]
        for deployment in (
            document for document in chart.documents(values) if document["kind"] == "Deployment"
        ):
            pod = deployment["spec"]["template"]["spec"]
            for each in (*pod["containers"], *pod["initContainers"]):
                words = each["command"]
                if words[:5] == ["tini", "--", "python", "-m", "services.worker"]:
                    assert words[5] in worker._MODES
                    assert set(words[6:]) <= set(discover())
                    assert words[6:]
                elif words[:3] == ["tini", "--", "kuznia"]:
                    assert words[3] in commands
                else:
                    assert words[0] in ("sh", "tail")

    def test_no_replicas_is_a_number_too(self, chart: Chart):
        documents = chart.documents(merged(BARE, {"workers": {"status": {"replicas": 0}}}))
        assert of(documents, "Deployment", "status")["spec"]["replicas"] == 0


class TestSettings:
    @pytest.mark.parametrize("values", SETS)
    def test_every_variable_is_understood(self, chart: Chart, values: str):
        found = variables(chart.documents(values))
        assert core.from_environment(found).host == "0.0.0.0"
        assert google.from_environment(found).project == "my-kuznia-project"
        chosen = kubernetes.from_environment(found)
        assert chosen.platform_namespace == NAMESPACE
        assert chosen.trainer_image

    def test_what_the_values_say_is_what_the_code_reads(self, chart: Chart):
        chosen = kubernetes.from_environment(variables(chart.documents("push.yaml")))
        assert (chosen.orchestrator, chosen.queue, chosen.hf_secret) == ("argo", "training", "hub")
        assert chosen.git_secret == "git"
        assert (chosen.releases, chosen.gitops_repository) == (
            "gitops",
            "https://git.example.com/acme/deploy.git",
        )
        assert chosen.priority_class == "kuznia-{priority}"
        assert chosen.networks == ["172.20.0.0/28"]
        other = kubernetes.from_environment(variables(chart.documents("apart.yaml")))
        assert (other.spot, other.accelerator, other.releases) == (True, "nvidia-l4", "helm")
        pushed = google.from_environment(variables(chart.documents("push.yaml")))
        assert pushed.push_audience == "kuznia.push.my-kuznia-project"

    def test_values_of_engines_are_a_file(self, chart: Chart):
        documents = chart.documents("apart.yaml")
        chosen = kubernetes.from_environment(variables(documents))
        kept = yaml.safe_load(of(documents, "ConfigMap", "kuznia-serving")["data"]["values.yaml"])
        assert kept["resources"]["limits"]["nvidia.com/gpu"] == 1
        mounts = {
            mount["mountPath"]
            for mount in container(of(documents, "Deployment", "deployment"))["volumeMounts"]
        }
        assert chosen.chart_values.rpartition("/")[0] in mounts

    def test_another_config_makes_new_pods(self, chart: Chart):
        def digest(values: dict[str, Any]) -> str:
            pod = of(chart.documents(values), "Deployment", "cards")["spec"]["template"]
            return pod["metadata"]["annotations"]["kuznia.dev/config"]

        other = merged(BARE, {"config": {"KUZNIA_MAX_ATTEMPTS": "12"}})
        assert digest(BARE) != digest(other)
        assert variables(chart.documents(other))["KUZNIA_MAX_ATTEMPTS"] == "12"


class TestSecrets:
    @pytest.mark.parametrize("values", SETS)
    def test_none_is_in_a_manifest(self, chart: Chart, values: str):
        documents = chart.documents(values)
        assert names(documents, "Secret") == set()
        env = [
            each
            for document in documents
            if document["kind"] == "Deployment"
            for each in container(document).get("env", [])
        ]
        assert not any(re.search("TOKEN|SECRET|KEY|PASSW", each["name"]) for each in env)

    def test_files_of_a_secret_are_copied_for_their_owner_alone(self, chart: Chart):
        pod = of(chart.documents("push.yaml"), "Deployment", "webhook")["spec"]["template"]["spec"]
        script = pod["initContainers"][0]["args"][0]
        assert script.count("install -m 0600") == 3
        assert "'/var/lib/kuznia/secrets/'" in script
        volumes = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
        assert volumes == ["kuznia-engine", "forge", "git"]

    def test_git_is_opened_for_who_launches(self, chart: Chart):
        documents = chart.documents("push.yaml")

        def has(part: str) -> bool:
            pod = of(documents, "Deployment", part)["spec"]["template"]["spec"]
            return any(
                volume.get("secret", {}).get("secretName") == "deploy-git" for volume in pod["volumes"]
            )

        assert has("deployment")
        assert has("front")
        assert has("reconciler")
        assert not has("cards")
        assert not has("webhook")
        assert not has("gateway")


class TestAccounts:
    def test_parts_and_tenants_have_the_names_that_terraform_gives(self, chart: Chart):
        documents = chart.documents("apart.yaml")

        def account(name: str, namespace: str = NAMESPACE) -> str:
            found = of(documents, "ServiceAccount", name, namespace)
            return found["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]

        at = "@my-kuznia-project.iam.gserviceaccount.com"
        short = f"kuznia-acme-{hashlib.sha256(b'acme').hexdigest()[:4]}"
        assert account("training") == f"kuznia-training{at}"
        assert account("trainer", "acme") == f"{short}-t{at}"
        assert account("engine", "acme-api") == f"{short}-e{at}"

    def test_or_none(self, chart: Chart):
        documents = chart.documents(merged(BARE, {"google": {"accountPrefix": ""}}))
        for account in (document for document in documents if document["kind"] == "ServiceAccount"):
            assert "annotations" not in account["metadata"]

    def test_a_tenants_quota(self, chart: Chart):
        documents = chart.documents("apart.yaml")
        hard = of(documents, "ResourceQuota", "tenant", "orlik")["spec"]["hard"]
        assert (hard["requests.nvidia.com/gpu"], hard["pods"]) == ("8", "50")

    def test_argos_own_container_has_an_account(self, chart: Chart):
        documents = chart.documents(merged(BARE, {"training": {"orchestrator": "argo"}}))
        of(documents, "ServiceAccount", "executor", "acme")
        resources = {
            resource
            for rule in of(documents, "Role", "executor", "acme")["rules"]
            for resource in rule["resources"]
        }
        assert resources == {"workflowtaskresults", "jobsets"}
        token = of(documents, "Secret", "executor.service-account-token", "acme")
        assert "data" not in token, "Kubernetes fills it in"

    def test_namespaces_of_others_are_left_alone(self, chart: Chart):
        assert "Namespace" not in chart.kinds("push.yaml")
        assert {"acme", "acme-api"} <= {
            role["metadata"]["namespace"] for role in chart.documents("push.yaml") if role["kind"] == "Role"
        }


class TestDoors:
    def test_nobody_is_led_to_the_console(self, chart: Chart):
        (ingress,) = [document for document in chart.documents("push.yaml") if document["kind"] == "Ingress"]
        paths = {
            (rule["host"].split(".")[0], path["path"]): path["backend"]["service"]["name"]
            for rule in ingress["spec"]["rules"]
            for path in rule["http"]["paths"]
        }
        assert {key: name for key, name in paths.items() if key[0] != "push"} == {
            ("api", "/"): "gateway",
            ("hooks", "/webhooks"): "kuznia",
            ("hooks", "/events"): "kuznia",
        }
        assert {key[1].removeprefix("/") for key in paths if key[0] == "push"} == set(discover())

    def test_the_same_by_gateway_api(self, chart: Chart):
        routes = [document for document in chart.documents("routes.yaml") if document["kind"] == "HTTPRoute"]
        found = {
            rule["matches"][0]["path"]["value"]: rule["backendRefs"][0]["name"]
            for route in routes
            for rule in route["spec"]["rules"]
        }
        assert found == {"/": "gateway", "/webhooks": "kuznia", "/events": "kuznia"}

    def test_names_are_asked_of_whoever_the_cluster_has(self, chart: Chart):
        """kube-dns, NodeLocal DNSCache, and Cloud DNS, which answers at the metadata server's address."""
        asked = 0
        for policy in (d for d in chart.documents("apart.yaml") if d["kind"] == "NetworkPolicy"):
            for rule in policy["spec"].get("egress", []):
                if {"port": 53, "protocol": "UDP"} in rule["ports"]:
                    asked += 1
                    blocks = {peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer}
                    assert blocks == {"169.254.20.10/32", "169.254.169.254/32"}
        assert asked >= 5, "the platform's, and two of each tenant"

    def test_what_an_ingress_leads_to_bears_its_annotations(self, chart: Chart):
        note = {"cloud.google.com/backend-config": '{"default": "long-answers"}'}
        values = merged(chart.said("push.yaml"), {"ingress": {"serviceAnnotations": note}})
        documents = chart.documents(values)
        (ingress,) = [d for d in documents if d["kind"] == "Ingress"]
        paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
        for name in {path["backend"]["service"]["name"] for path in paths}:
            assert of(documents, "Service", name)["metadata"]["annotations"] == note

    def test_google_asks_each_for_its_health(self, chart: Chart):
        documents = chart.documents("routes.yaml")
        checks = {
            d["spec"]["targetRef"]["name"]: d["spec"] for d in documents if d["kind"] == "HealthCheckPolicy"
        }
        backends = {
            reference["name"]
            for document in documents
            if document["kind"] == "HTTPRoute"
            for rule in document["spec"]["rules"]
            for reference in rule["backendRefs"]
        }
        assert checks.keys() == backends == {"gateway", "kuznia"}
        assert checks["gateway"]["default"]["config"]["httpHealthCheck"] == {"requestPath": "/readyz"}
        limits = [d["spec"]["default"]["timeoutSec"] for d in documents if d["kind"] == "GCPBackendPolicy"]
        assert limits == [600, 600]
        values = merged(chart.said("push.yaml"), {"ingress": {"enabled": False}})
        values = merged(values, {"httpRoute": chart.said("routes.yaml")["httpRoute"]})
        pushed = [d for d in chart.documents(values) if d["kind"] == "HealthCheckPolicy"]
        assert {d["spec"]["targetRef"]["name"] for d in pushed} > {"gateway", "kuznia", "training"}

    def test_workers_are_called_by_nobody(self, chart: Chart):
        for policy in (
            document for document in chart.documents("apart.yaml") if document["kind"] == "NetworkPolicy"
        ):
            if policy["metadata"]["namespace"] == NAMESPACE and policy["spec"].get("ingress"):
                selected = policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
                assert selected in ("front", "gateway")


class TestGateway:
    def test_it_grows(self, chart: Chart):
        documents = chart.documents("apart.yaml")
        scaler = of(documents, "HorizontalPodAutoscaler", "gateway")
        assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (2, 10)
        assert "replicas" not in of(documents, "Deployment", "gateway")["spec"]

    def test_or_stays(self, chart: Chart):
        documents = chart.documents("routes.yaml")
        assert names(documents, "HorizontalPodAutoscaler") == set()
        gateway = of(documents, "Deployment", "gateway")
        assert gateway["spec"]["replicas"] == 3
        pod = gateway["spec"]["template"]["spec"]
        assert [each["name"] for each in pod["initContainers"]] == ["home"]

    def test_answers_that_began_are_finished_before_it_is_killed(self, chart: Chart):
        pod = of(chart.documents("apart.yaml"), "Deployment", "gateway")["spec"]["template"]["spec"]
        main = pod["containers"][0]
        drain = int(main["lifecycle"]["preStop"]["exec"]["command"][1])
        grace = int(main["command"][main["command"].index("--grace-seconds") + 1])
        assert drain + grace < pod["terminationGracePeriodSeconds"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"layout": "apartt"}, "at '/layout': value must be one of 'apart', 'together'"),
    ({"gatewai": {}}, "additional properties 'gatewai' not allowed"),
    ({"config": {"KUZNIA_HF_TOKEN": "x"}}, "config.KUZNIA_HF_TOKEN: that looks like a secret"),
    ({"config": {"kuznia_port": "1"}}, "config.kuznia_port: no variable is called that"),
    ({"config": {"KUZNIA_PROFILE": "local"}}, "config.KUZNIA_PROFILE: the chart sets it by a value of its own"),
    ({"google": {"project": ""}}, "google.project is empty"),
    ({"training": {"image": ""}}, "training.image is empty"),
    ({"serving": {"releases": "plain"}}, "serving.image is empty, and serving.releases is plain"),
    ({"serving": {"releases": "gitops"}}, "serving.gitops.repository is empty"),
    (
        {"serving": {"releases": "plain", "image": "engine:1", "values": {"a": 1}}},
        "serving.values is set, and serving.releases is plain",
    ),
    ({"delivery": "push"}, "push.audience and push.account must both be set"),
    ({"delivery": "push", "layout": "together"}, "delivery is push, and layout is together"),
    ({"workers": {"trainig": {"replicas": 2}}}, "workers.trainig: no service is called that; there are cards, "),
    ({"layout": "together", "workers": {"cards": {}}}, "workers.cards: layout is together, which has no workers"),
    ({"tenants": {"acme-api": {}}}, "tenants.acme-api: of tenants a and a-api the namespaces would collide"),
    ({"tenants": {"team-x": {}}}, "tenants.team-x: its namespaces would be the platform's own, team-x-api"),
    ({"tenants": {"kube-system": {}}}, "tenants.kube-system: that is a namespace of others"),
    ({"tenants": {"Team": {}}}, "tenants.Team: a tenant has 1 to 40 small letters"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs is empty"),
    ({"ingress": {"enabled": True}, "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]}}, "both enabled"),
    (
        {"gateway": {"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}},
        "gateway.autoscaling.minReplicas is 5, above maxReplicas, which is 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("values", "cause"), REFUSED, ids=functools.partial(str))
def test_what_cannot_be_used_is_named(chart: Chart, values: dict[str, Any], cause: str):
    assert cause in chart.refused(merged(BARE, values))


def test_all_faults_at_once(chart: Chart):
    said = chart.refused({"delivery": "push"})
    assert "4 of the values cannot be used" in said


def test_notes(chart: Chart):
    notes = chart.notes("apart.yaml")
    assert "apart, pull, for 2 tenant(s): acme, orlik." in notes
    assert "create secret generic kuznia-engine --from-file=engine.secret" in notes
