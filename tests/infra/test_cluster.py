"""What Terraform would make inside the cluster, of what it made around it."""

from __future__ import annotations

import json

import pytest
import yaml

from services.discovery import discover
from tests.infra.conftest import Make
from tests.infra.roots import DIGEST, Plan, email, of, one, taken

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(terraform: Make, apart: Plan) -> Plan:
    return terraform("cluster").plan("minimal", image=DIGEST, artifacts="gs://bucket", **taken(apart))


def test_a_part_runs_as_its_account_without_privileges(cluster: Plan, apart: Plan):
    parts = of(cluster, "kubernetes_deployment_v1.part")
    assert set(parts) == {*discover(), "front"}
    for name, value in parts.items():
        (pod,) = value["spec"][0]["template"][0]["spec"]
        assert pod["service_account_name"] == name
        assert pod["security_context"][0]["run_as_non_root"]
        (container,) = pod["container"]
        assert container["security_context"][0]["read_only_root_filesystem"]
        assert container["security_context"][0]["capabilities"] == [{"add": None, "drop": ["ALL"]}]
        account = one(cluster, "kubernetes_service_account_v1.part", name)["metadata"][0]["annotations"]
        expected = email(apart, "part", name)
        assert account == {"iam.gke.io/gcp-service-account": expected}


def test_commands_are_those_of_the_code(cluster: Plan):
    commands = {
        name: value["spec"][0]["template"][0]["spec"][0]["container"][0]["command"][2:]
        for name, value in of(cluster, "kubernetes_deployment_v1.part").items()
    }
    front = commands.pop("front")
    assert front == ["kuznia", "up"]
    assert commands == {name: ["python", "-m", "services.worker", "pull", name] for name in discover()}


def test_a_tenant_has_two_closed_namespaces(cluster: Plan):
    spaces = {"team-x", "team-x-api", "team-y", "team-y-api"}
    assert set(of(cluster, "kubernetes_namespace_v1.tenant")) == spaces
    for kind in (
        "network_policy_v1.tenant",
        "resource_quota_v1.tenant",
        "limit_range_v1.tenant",
        "role_v1.launch",
    ):
        assert set(of(cluster, f"kubernetes_{kind}")) == spaces
    for value in of(cluster, "kubernetes_namespace_v1.tenant").values():
        assert value["metadata"][0]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for value in of(cluster, "kubernetes_network_policy_v1.tenant").values():
        assert value["spec"][0]["policy_types"] == ["Ingress", "Egress"]


def test_who_launches_is_bound_in_namespaces_of_tenants_and_with_no_wildcard(cluster: Plan):
    bound = {name.split("/")[0] for name in of(cluster, "kubernetes_role_binding_v1.launch")}
    assert bound == {"training", "validation", "deployment", "engines", "front"}
    rules = [rule for value in of(cluster, "kubernetes_role_v1.launch").values() for rule in value["rule"]]
    assert rules
    assert "*" not in {
        word for rule in rules for field in ("api_groups", "resources", "verbs") for word in rule[field]
    }


def test_with_push_the_front_and_the_reconciler_run_in_the_cluster(terraform: Make, pushed: Plan):
    given = {"image": DIGEST, "artifacts": "gs://bucket", "delivery": "push", **taken(pushed)}
    plan = terraform("cluster").plan("minimal", **given)
    parts = of(plan, "kubernetes_deployment_v1.part")
    assert set(parts) == {"front", "reconciler"}
    (pod,) = parts["reconciler"]["spec"][0]["template"][0]["spec"]
    worker = ["tini", "--", "python", "-m", "services.worker"]
    assert pod["init_container"][0]["command"] == [*worker, "subscribe", *discover()]
    assert pod["container"][0]["command"] == [*worker, "reconcile", *discover()]


def test_a_delivery_that_the_platform_has_not_is_refused(terraform: Make, apart: Plan):
    given = {"image": DIGEST, "artifacts": "gs://bucket", "delivery": "push", **taken(apart)}
    done = terraform("cluster").try_plan("minimal", **given)
    assert done.returncode == 1
    assert "delivery must be what infra/terraform was applied with" in " ".join(done.stderr.split())


def test_a_parts_secrets_are_files_in_its_pod_and_in_no_others(cluster: Plan, apart: Plan):
    classes = {name: value["manifest"] for name, value in of(cluster, "kubernetes_manifest.secret").items()}
    assert set(classes) == {"forge-token", "outbound-key"}
    assert classes["forge-token"]["metadata"]["namespace"] == "kuznia"
    assert classes["forge-token"]["spec"]["provider"] == "gke"
    (told,) = json.loads(json.dumps(yaml.safe_load(classes["forge-token"]["spec"]["parameters"]["secrets"])))
    assert told["path"] == "value"
    assert (
        told["resourceName"] == f"{apart['output.parts']['status']['secrets']['forge-token']}/versions/latest"
    )
    for name, value in of(cluster, "kubernetes_deployment_v1.part").items():
        (pod,) = value["spec"][0]["template"][0]["spec"]
        mounts = {m["mount_path"]: (m["name"], m["read_only"]) for m in pod["container"][0]["volume_mount"]}
        found = {path: name for path, name in mounts.items() if path.startswith("/etc/")}
        wanted = {"status": "forge-token", "outbound": "outbound-key"}.get(name)
        assert found == ({f"/etc/kuznia/secrets/{wanted}": (f"secret-{wanted}", True)} if wanted else {})
        volumes = {volume["name"]: volume["csi"] for volume in pod["volume"] if volume.get("csi")}
        assert set(volumes) == ({f"secret-{wanted}"} if wanted else set())
        for (csi,) in volumes.values():
            assert csi["driver"] == "secrets-store-gke.csi.k8s.io"
            assert csi["volume_attributes"] == {"secretProviderClass": wanted}


def test_a_variable_may_name_the_file_of_a_secret(terraform: Make, apart: Plan):
    given = {
        "image": DIGEST,
        "artifacts": "gs://b",
        "environment": {"HF_TOKEN_PATH": "/etc/x"},
        **taken(apart),
    }
    plan = terraform("cluster").plan("minimal", **given)
    pod = of(plan, "kubernetes_deployment_v1.part")["training"]["spec"][0]["template"][0]["spec"][0]
    assert {"HF_TOKEN_PATH", "KUZNIA_PROFILE"} <= {entry["name"] for entry in pod["container"][0]["env"]}


def test_a_secret_in_the_environment_is_refused(terraform: Make, apart: Plan):
    done = terraform("cluster").try_plan(
        "minimal", image=DIGEST, artifacts="gs://b", environment={"HF_TOKEN": "x"}, **taken(apart)
    )
    assert done.returncode == 1
    assert "A secret must not stand in environment" in " ".join(done.stderr.replace("│", "").split())
