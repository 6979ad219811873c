"""What Terraform would make inside the cluster, of what it made around it."""

from __future__ import annotations

import json

import pytest
import yaml

from services.discovery import discover
from shared import engine_key
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
    launching = {"training", "validation", "deployment", "engines"}
    assert set(parts) == {"front", "reconciler", *launching}
    (pod,) = parts["reconciler"]["spec"][0]["template"][0]["spec"]
    worker = ["tini", "--", "python", "-m", "services.worker"]
    served = sorted(set(discover()) - launching)
    assert pod["init_container"][0]["command"] == [*worker, "subscribe", *served]
    assert pod["container"][0]["command"] == [*worker, "reconcile", *served]
    assert not pod["automount_service_account_token"]
    (pod,) = parts["training"]["spec"][0]["template"][0]["spec"]
    assert pod["container"][0]["command"] == [*worker, "pull", "training"]


def test_a_delivery_that_the_platform_has_not_is_refused(terraform: Make, apart: Plan):
    given = {"image": DIGEST, "artifacts": "gs://bucket", "delivery": "push", **taken(apart)}
    done = terraform("cluster").try_plan("minimal", **given)
    assert done.returncode == 1
    assert "delivery must be what infra/terraform was applied with" in " ".join(done.stderr.split())


def test_a_parts_secrets_are_files_in_its_pod_and_in_no_others(cluster: Plan, apart: Plan):
    classes = {name: value["manifest"] for name, value in of(cluster, "kubernetes_manifest.secret").items()}
    assert set(classes) == {"forge-token", "outbound-key", "engine-secret"}
    launching = {"training", "validation", "deployment", "engines", "front"}
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
        wanted = "engine-secret" if name in launching else wanted
        assert found == ({f"/etc/kuznia/secrets/{wanted}": (f"secret-{wanted}", True)} if wanted else {})
        volumes = {volume["name"]: volume["csi"] for volume in pod["volume"] if volume.get("csi")}
        assert set(volumes) == ({f"secret-{wanted}"} if wanted else set())
        for (csi,) in volumes.values():
            assert csi["driver"] == "secrets-store-gke.csi.k8s.io"
            assert csi["volume_attributes"] == {"secretProviderClass": wanted}


def test_the_secret_of_engines_lies_in_the_home_of_who_launches_for_nobody_else_to_read(cluster: Plan):
    for name, value in of(cluster, "kubernetes_deployment_v1.part").items():
        (pod,) = value["spec"][0]["template"][0]["spec"]
        made = [one for one in pod["init_container"] or [] if one["name"] == "engine-secret"]
        assert bool(made) == (name in {"training", "validation", "deployment", "engines", "front"})
        for container in made:
            *words, target = container["command"]
            assert words == ["install", "-m", "0600", "/etc/kuznia/secrets/engine-secret/value"]
            assert target == f"/var/lib/kuznia/{engine_key.SECRET}"
            mounts = [mount["mount_path"] for mount in container["volume_mount"]]
            assert mounts == ["/var/lib/kuznia", "/etc/kuznia/secrets/engine-secret"]


def test_apart_what_is_launched_runs_in_the_cluster(cluster: Plan, terraform: Make, apart: Plan):
    for value in of(cluster, "kubernetes_deployment_v1.part").values():
        (container,) = value["spec"][0]["template"][0]["spec"][0]["container"]
        told = {entry["name"]: entry["value"] for entry in container["env"]}
        assert (told["KUZNIA_CLUSTER"], told["KUZNIA_K8S_TRAINER_IMAGE"]) == ("kubernetes", DIGEST)
    given = {"image": DIGEST, "artifacts": "gs://b", **taken(apart), "trainer_image": ""}
    done = terraform("cluster").try_plan("minimal", **given)
    assert done.returncode == 1
    assert "trainer_image must be named where the services are apart" in " ".join(done.stderr.split())


def test_a_tenants_hub_token_is_kept_up_by_the_cluster_itself(terraform: Make, apart: Plan, cluster: Plan):
    given = {"image": DIGEST, "artifacts": "gs://b", "hub_secret": "hf-token", **taken(apart)}
    plan = terraform("cluster").plan("minimal", **given)
    sync = one(plan, "kubernetes_manifest.hub_sync", "team-x")["manifest"]
    read = one(plan, "kubernetes_manifest.hub", "team-x")["manifest"]
    assert set(of(plan, "kubernetes_manifest.hub")) == {"team-x"}, "it names no other tenant"
    assert (sync["kind"], sync["metadata"]["name"], sync["metadata"]["namespace"]) == (
        "SecretSync",
        "hub",
        "team-x",
    )
    assert sync["spec"]["serviceAccountName"] == "trainer"
    assert sync["spec"]["secretProviderClassName"] == read["metadata"]["name"]
    assert sync["spec"]["secretObject"]["data"] == [{"sourcePath": "value", "targetKey": "token"}]
    (told,) = yaml.safe_load(read["spec"]["parameters"]["secrets"])
    assert told["resourceName"].endswith("/kuznia-hf-token/versions/latest")
    pod = of(plan, "kubernetes_deployment_v1.part")["training"]["spec"][0]["template"][0]["spec"][0]
    assert ("KUZNIA_K8S_HF_SECRET", "hub") in {(e["name"], e["value"]) for e in pod["container"][0]["env"]}
    assert of(cluster, "kubernetes_manifest.hub") == {}


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
