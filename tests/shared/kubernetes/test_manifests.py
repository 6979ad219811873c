"""From a workload to manifests: valid in every version of Kubernetes that is served, and meaning what was asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from shared.errors import Reject
from shared.experiment.manifest import Resources
from shared.kubernetes.manifests import Object, manifests
from shared.kubernetes.manifests.job import AGAIN
from shared.kubernetes.manifests.keys import askers
from shared.kubernetes.manifests.labels import DIGEST, DOCUMENT, key_digest
from shared.podkit.stopping import PREEMPTED
from shared.ports.cluster import Limits, Workload
from tests import kubernetes_checks as checks
from tests.services.words import RUN
from tests.shared.kubernetes.workloads import GPU, settings, training

RICH = {
    "queue": "gpus",
    "priority_class": "batch",
    "runtime_class": "nvidia",
    "image_pull_secret": "registry",
    "hf_secret": "hf-token",
    "egress": "10.8.0.0/16, 10.9.0.0/16",
}
SERVER = Workload(
    name="serve-x",
    service="deployment",
    key="releases/team-x.llm-qa.v1",
    kind="server",
    module="services.deployment.pod",
    document={"model": "x"},
    limits=Limits(deadline_seconds=600, grace_seconds=30),
    ready_path="/v1/models",
    labels={"tenant": "team-x", "model": "team-x.llm-qa.v1@1.0.0"},
)


def main(workload: Workload, **changed: Any) -> Object:
    return manifests(workload, settings(**changed))[0]


def pod_of(manifest: Object) -> Any:
    spec = manifest["spec"]
    if manifest["kind"] == "JobSet":
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    return spec["template"]


def container_of(manifest: Object) -> Any:
    if manifest["kind"] == "Workflow":
        return manifest["spec"]["templates"][0]["container"]
    return pod_of(manifest)["spec"]["containers"][0]


def values(manifest: Object) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container_of(manifest)["env"] if "value" in one}


def sources(manifest: Object) -> dict[str, Any]:
    return {one["name"]: one["valueFrom"] for one in container_of(manifest)["env"] if "valueFrom" in one}


CASES: dict[str, tuple[Workload, dict[str, Any]]] = {
    "cpu": (training(), {}),
    "gpu": (training(**GPU), {}),
    "gpus, all settings": (training(**GPU | {"gpus": 8}), RICH),
    "nodes": (training(**GPU | {"nodes": 4, "gpus": 8}), {}),
    "nodes, all settings": (training(**GPU | {"nodes": 2}), RICH),
    "argo": (training(**GPU), {"orchestrator": "argo"}),
    "argo, all settings": (training(), {"orchestrator": "argo", **RICH}),
    "argo, nodes": (training(**GPU | {"nodes": 2}), {"orchestrator": "argo", **RICH}),
    "server": (SERVER, {}),
    "server, all settings": (SERVER, {"accelerator": "nvidia-l4", **RICH}),
    "unlimited": (replace(training(), limits=Limits(memory_bytes=0, deadline_seconds=0, restarts=0)), {}),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_valid_in_every_version(case: str, capability: Callable[[str, bool, str], None]):
    capability("kubernetes-validate", checks.available(), checks.NEEDS)
    workload, changed = CASES[case]
    documents = manifests(workload, settings(**changed))
    if documents[0]["kind"] == "Workflow" and "resource" in documents[0]["spec"]["templates"][0]:
        documents.append(json.loads(documents[0]["spec"]["templates"][0]["resource"]["manifest"]))
    assert checks.faults(documents) == []


@pytest.mark.parametrize("case", CASES)
def test_it_is_a_function_of_what_it_is_given(case: str):
    workload, changed = CASES[case]
    before = deepcopy(workload)
    assert manifests(workload, settings(**changed)) == manifests(workload, settings(**changed))
    assert workload == before


class TestEverywhere:
    def test_it_has_the_run_s_name_in_the_tenant_s_namespace(self):
        metadata = main(training())["metadata"]
        assert (metadata["namespace"], metadata["name"]) == ("team-x", f"train-{RUN}")
        assert main(SERVER)["metadata"]["namespace"] == "team-x-api"

    def test_it_tells_whose_it_is_and_for_what(self):
        metadata = main(training())["metadata"]
        assert metadata["labels"] == {
            "app.kubernetes.io/name": "kuznia-training",
            "app.kubernetes.io/instance": f"train-{RUN}",
            "app.kubernetes.io/version": "0.1.0",
            "app.kubernetes.io/component": "training",
            "app.kubernetes.io/part-of": "kuznia",
            "app.kubernetes.io/managed-by": "kuznia",
            "kuznia.dev/workload": f"train-{RUN}",
            "kuznia.dev/service": "training",
            "kuznia.dev/tenant": "team-x",
            "kuznia.dev/run": RUN,
            "kuznia.dev/key-digest": key_digest(f"runs/{RUN}"),
        }
        told = metadata["annotations"]
        assert (told["kuznia.dev/owner"], told["kuznia.dev/run"]) == ("Support Engineering", RUN)
        assert (told["kuznia.dev/key"], told["kuznia.dev/traceparent"]) == (f"runs/{RUN}", "00-trace")

    def test_what_no_label_may_be_is_an_annotation(self):
        metadata = main(SERVER)["metadata"]
        assert metadata["annotations"]["kuznia.dev/model"] == "team-x.llm-qa.v1@1.0.0"
        assert "kuznia.dev/model" not in metadata["labels"]

    @pytest.mark.parametrize(
        ("image", "version"),
        [
            ("r.example/x:1.2.3", "1.2.3"),
            (f"r.example/x@sha256:{'ab' * 32}", "ab" * 6),
            ("localhost:5000/x", ""),
        ],
    )
    def test_its_version_is_the_image_s(self, image: str, version: str):
        labels = main(training(), trainer_image=image)["metadata"]["labels"]
        assert labels.get("app.kubernetes.io/version", "") == version

    def test_equal_workloads_have_equal_digests_whatever_the_settings(self):
        one, other = main(training()), main(training(), trainer_image="registry.example/other:2", **RICH)
        assert one["metadata"]["annotations"][DIGEST] == other["metadata"]["annotations"][DIGEST]
        changed = main(training(memory_gb=8))
        assert changed["metadata"]["annotations"][DIGEST] != one["metadata"]["annotations"][DIGEST]

    @pytest.mark.parametrize("changed", [{}, {"orchestrator": "argo"}])
    def test_the_pod_reads_its_document_where_it_is_told(self, changed: dict[str, Any]):
        workload = training()
        manifest = main(workload, **changed)
        pod = manifest["spec"]["templates"][0] if changed else pod_of(manifest)
        assert json.loads(pod["metadata"]["annotations"][DOCUMENT]) == workload.document
        (volume,) = [v for v in pod.get("spec", pod)["volumes"] if v["name"] == "document"]
        (item,) = volume["downwardAPI"]["items"]
        assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{DOCUMENT}']"
        (mount,) = [m for m in container_of(manifest)["volumeMounts"] if m["name"] == "document"]
        assert values(manifest)["KUZNIA_POD"] == f"{mount['mountPath']}/{item['path']}"

    def test_it_runs_the_module_with_the_platform_s_profile(self):
        manifest = main(training())
        assert container_of(manifest)["args"] == ["python", "-m", "services.training.pod"]
        told = values(manifest)
        assert (told["KUZNIA_PROFILE"], told["GOOGLE_CLOUD_PROJECT"]) == ("gcp", "p")
        assert told["KUZNIA_ARTIFACTS"] == "gs://b"

    def test_each_start_can_be_told_from_the_others(self):
        assert sources(main(training()))["KUZNIA_INSTANCE"] == {"fieldRef": {"fieldPath": "metadata.uid"}}

    def test_the_model_hub_is_asked_by_way_of_the_proxy_with_the_secret(self):
        environment = {"HF_ENDPOINT": "https://hub.example"}
        manifest = main(training(), environment=environment, hf_secret="hf-token")
        assert values(manifest)["HF_ENDPOINT"] == "https://hub.example"
        assert values(manifest)["HF_HUB_OFFLINE"] == "0"
        assert sources(manifest)["HF_TOKEN"] == {"secretKeyRef": {"name": "hf-token", "key": "token"}}
        assert values(main(training(), environment={"HF_HUB_OFFLINE": "1"}))["HF_HUB_OFFLINE"] == "1"

    @pytest.mark.parametrize("orchestrator", ["job", "argo"])
    def test_private_repositories_are_opened_by_files_of_git(self, orchestrator: str):
        made = main(training(**GPU), git_secret="git", orchestrator=orchestrator)
        (step,) = made["spec"].get("templates") or [made["spec"]["template"]["spec"]]
        (container,) = step.get("containers") or [step["container"]]
        told = {each["name"]: each.get("value") for each in container["env"]}
        mounts = {each["name"]: each for each in container["volumeMounts"]}
        assert mounts["git"] == {"name": "git", "mountPath": told["XDG_CONFIG_HOME"], "readOnly": True}
        (secret,) = [volume["secret"] for volume in step["volumes"] if volume["name"] == "git"]
        assert secret["secretName"] == "git"
        assert {item["path"] for item in secret["items"]} == {"git/config", "git/credentials"}
        plain = pod_of(main(training(**GPU)))["spec"]
        assert "git" not in {volume["name"] for volume in plain["volumes"]}

    def test_git_finds_a_token_there(self, tmp_path: Path):
        """As git itself looks for it, with the files where the pod has them."""
        (tmp_path / "git").mkdir()
        (tmp_path / "git" / "config").write_text("[credential]\n\thelper = store\n")
        (tmp_path / "git" / "credentials").write_text("https://bot:token-1@git.example.com\n")
        done = subprocess.run(
            ["git", "credential", "fill"],
            input="protocol=https\nhost=git.example.com\n\n",
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/nonexistent",
                "XDG_CONFIG_HOME": str(tmp_path),
                **SILENT,
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert "password=token-1" in done.stdout

    def test_base_models_are_the_image_s_or_fetched_to_a_disk_of_the_pod(self):
        for offline, fetched in (("0", True), ("1", False)):
            manifest = main(training(), environment={"HF_HUB_OFFLINE": offline})
            paths = {mount["mountPath"] for mount in container_of(manifest)["volumeMounts"]}
            assert ("/opt/cache/kuznia/models" in paths) is fetched
            assert {"/tmp", "/var/lib/kuznia", "/opt/cache/kuznia/cores", "/dev/shm"} <= paths

    def test_it_is_the_tenant_s_trainer_or_engine(self):
        assert pod_of(main(training()))["spec"]["serviceAccountName"] == "trainer"
        assert pod_of(main(SERVER))["spec"]["serviceAccountName"] == "engine"
        named = main(training(), service_account="kuznia-{tenant}")
        assert pod_of(named)["spec"]["serviceAccountName"] == "kuznia-team-x"

    def test_what_belongs_to_nobody_is_refused(self):
        with pytest.raises(Reject, match=r"labels\.tenant is ''"):
            main(replace(training(), labels={}))

    def test_a_document_that_no_annotation_holds_is_refused(self):
        with pytest.raises(Reject, match=r"has 2000\d\d bytes; 200000 fit"):
            main(replace(training(), document={"x": "y" * 200_000}))

    def test_a_document_that_is_no_json_is_refused(self):
        with pytest.raises(Reject, match="not made of JSON"):
            main(replace(training(), document={"x": object()}))

    def test_an_unknown_orchestrator_is_refused(self):
        with pytest.raises(Reject, match="it should be job or argo"):
            main(training(), orchestrator="cron")


class TestResources:
    """What model.yaml says reaches the node."""

    def test_nothing_that_model_yaml_may_ask_for_is_forgotten(self):
        said_to_the_cluster = {"gpu", "gpus", "nodes", "spot", "memory_gb", "disk_gb", "hours", "priority"}
        kept_by_the_platform = {"budget_hours"}
        assert set(Resources.model_fields) <= said_to_the_cluster | kept_by_the_platform

    def test_gpus_are_a_limit_and_a_kind_of_node(self):
        manifest = main(training(**GPU | {"gpus": 2}))
        resources, spec = container_of(manifest)["resources"], pod_of(manifest)["spec"]
        assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "2"
        assert spec["nodeSelector"]["cloud.google.com/gke-accelerator"] == "nvidia-l4"
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]

    def test_spot_is_asked_for_and_tolerated_and_gets_no_more_grace_than_there_is(self):
        spec = pod_of(main(replace(training(**GPU), limits=Limits(grace_seconds=120))))["spec"]
        assert spec["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
        assert {
            "key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule",
        } in spec["tolerations"]  # fmt: skip
        assert spec["terminationGracePeriodSeconds"] == 25
        own = replace(training(**GPU | {"spot": False}), limits=Limits(grace_seconds=119.5))
        spec = pod_of(main(own))["spec"]
        assert "cloud.google.com/gke-spot" not in spec["nodeSelector"]
        assert spec["terminationGracePeriodSeconds"] == 120

    def test_memory_disk_and_hours(self):
        manifest = main(training(memory_gb=1.5, disk_gb=40, hours=0.5))
        resources = container_of(manifest)["resources"]
        assert resources["requests"]["memory"] == resources["limits"]["memory"] == "1536Mi"
        assert (
            resources["limits"]["ephemeral-storage"] == resources["requests"]["ephemeral-storage"] == "40Gi"
        )
        assert manifest["spec"]["activeDeadlineSeconds"] == 1800
        rooms = {v["name"]: v["emptyDir"] for v in pod_of(manifest)["spec"]["volumes"] if "emptyDir" in v}
        assert rooms["home"] == {"sizeLimit": "40Gi"}
        assert rooms["shm"] == {"medium": "Memory", "sizeLimit": "384Mi"}

    def test_where_it_is_silent_no_default_of_the_namespace_can_choke_it(self):
        for gpus, memory in ((0, "8Gi"), (2, "40Gi")):
            asked = {"gpu": "nvidia-l4", "gpus": gpus} if gpus else {}
            resources = container_of(main(training(**asked)))["resources"]
            assert resources["requests"]["memory"] == resources["limits"]["memory"] == memory
            assert "cpu" in resources["requests"]
            assert "cpu" not in resources["limits"]
        manifest = main(training(), scratch_gib=70)
        assert container_of(manifest)["resources"]["requests"]["ephemeral-storage"] == "10Gi"
        assert container_of(manifest)["resources"]["limits"]["ephemeral-storage"] == "70Gi"
        assert "activeDeadlineSeconds" not in manifest["spec"]
        assert "nodeSelector" not in pod_of(manifest)["spec"]

    def test_who_says_nothing_of_resources_gets_one_of_the_cluster_s_gpus(self):
        evaluation = replace(training(), document={"role": "tuned"}, service="validation")
        assert "nvidia.com/gpu" not in container_of(main(evaluation))["resources"]["limits"]
        manifest = main(evaluation, accelerator="nvidia-l4", spot=True)
        assert container_of(manifest)["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert len(pod_of(manifest)["spec"]["tolerations"]) == 2
        said_none = main(training(), accelerator="nvidia-l4")
        assert "nvidia.com/gpu" not in container_of(said_none)["resources"]["limits"]

    def test_all_faults_are_told_at_once(self):
        wrong = replace(training(), document={"resources": {"gpus": "two", "nodes": -1, "disk_gb": 0}})
        with pytest.raises(Reject) as caught:
            main(wrong)
        assert len(str(caught.value).splitlines()) == 4
        with pytest.raises(Reject, match="gpus is 2, while gpu is none"):
            main(replace(training(), document={"resources": {"gpus": 2}}))


class TestJob:
    def test_a_taken_away_pod_costs_nothing_a_death_a_restart_a_verdict_ends_it(self):
        spec = main(training())["spec"]
        assert spec["backoffLimit"] == Limits().restarts
        ignore, fail = spec["podFailurePolicy"]["rules"]
        assert ignore == {
            "action": "Ignore",
            "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
        }
        assert (fail["action"], fail["onExitCodes"]["operator"]) == ("FailJob", "NotIn")
        final = {code for code in range(1, 256) if code not in fail["onExitCodes"]["values"]}
        assert {1, 2, 70, 127, 128} <= final
        assert not final & {PREEMPTED, 76, 137, 143}
        assert spec["podReplacementPolicy"] == "Failed"
        assert pod_of(main(training()))["spec"]["restartPolicy"] == "Never"

    def test_it_is_cleared_away(self):
        assert main(training(), ttl_seconds=60)["spec"]["ttlSecondsAfterFinished"] == 60

    def test_in_a_queue_it_waits_suspended(self):
        manifest = main(training(), queue="gpus", priority_class="batch")
        assert manifest["spec"]["suspend"] is True
        assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"
        assert pod_of(manifest)["spec"]["priorityClassName"] == "batch"
        assert "suspend" not in main(training())["spec"]

    def test_its_class_may_follow_the_run_s_priority(self):
        for resources, name in (({"priority": "high"}, "kuznia-high"), ({}, "kuznia-normal")):
            job = main(training(**resources), priority_class="kuznia-{priority}")
            assert pod_of(job)["spec"]["priorityClassName"] == name

    def test_no_node_is_cleared_under_it(self):
        told = pod_of(main(training()))["metadata"]["annotations"]
        assert told["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
        assert (
            "cluster-autoscaler.kubernetes.io/safe-to-evict"
            not in pod_of(main(SERVER))["metadata"]["annotations"]
        )


class TestJobSet:
    manifest = main(training(**GPU | {"nodes": 4, "gpus": 8, "hours": 1}))

    def test_ranks_come_from_the_index_and_the_first_node_is_found_by_name(self):
        job = self.manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
        assert (self.manifest["kind"], job["completionMode"]) == ("JobSet", "Indexed")
        assert job["completions"] == job["parallelism"] == 4
        told = values(self.manifest)
        assert (told["NNODES"], told["NPROC_PER_NODE"], told["FORCE_TORCHRUN"]) == ("4", "8", "1")
        name, subdomain = self.manifest["metadata"]["name"], self.manifest["spec"]["network"]["subdomain"]
        # As JobSet names pods: <jobset>-<job>-<job index>-<pod index>.<subdomain>
        assert told["MASTER_ADDR"] == f"{name}-node-0-0.{subdomain}"
        path = sources(self.manifest)["NODE_RANK"]["fieldRef"]["fieldPath"]
        assert path == "metadata.annotations['batch.kubernetes.io/job-completion-index']"

    def test_all_are_restarted_together_and_a_preemption_costs_nothing(self):
        policy = self.manifest["spec"]["failurePolicy"]
        assert policy["maxRestarts"] == Limits().restarts
        assert [rule["action"] for rule in policy["rules"]] == [
            "FailJobSet", "RestartJobSetAndIgnoreMaxRestarts", "FailJobSet",
        ]  # fmt: skip
        job = self.manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
        assert job["backoffLimit"] == 0
        rules = job["podFailurePolicy"]["rules"]
        assert [rule["action"] for rule in rules] == ["FailJob"] * 3
        (pattern,) = policy["rules"][0]["onJobFailureMessagePatterns"]
        (final,) = [place for place, rule in enumerate(rules) if "NotIn" in str(rule)]
        for place in range(3):  # the words of Kubernetes' Job controller
            told = f"Container main for pod team-x/p failed with exit code 1 matching FailJob rule at index {place}"
            assert bool(re.search(pattern, told)) is (place == final)
        assert job["activeDeadlineSeconds"] == 3600

    def test_a_name_that_is_too_long_for_its_pods_is_refused(self):
        long = replace(training(**GPU | {"nodes": 200}), name="x" * 50)
        with pytest.raises(Reject, match="with 200 nodes 46 are the most"):
            main(long)

    def test_it_waits_in_the_queue_as_a_whole(self):
        manifest = main(training(**GPU | {"nodes": 2}), queue="gpus")
        assert manifest["spec"]["suspend"] is True
        assert manifest["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


HTTPS = [{"protocol": "TCP", "port": 443}]
SILENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}


class TestWorkflow:
    workload = training(**GPU)
    manifest = main(workload, orchestrator="argo")
    step = manifest["spec"]["templates"][0]

    def test_it_is_the_same_pod_under_the_same_name(self):
        job = main(self.workload)
        assert self.manifest["metadata"] == job["metadata"]
        other = dict(self.step["container"])
        assert other.pop("command") == ["tini", "--"]
        assert other == container_of(job)
        pod = pod_of(job)
        for part in ("volumes", "nodeSelector", "tolerations", "serviceAccountName"):
            assert self.step[part] == pod["spec"][part]
        assert self.manifest["spec"]["securityContext"] == pod["spec"]["securityContext"]
        patch = json.loads(self.step["podSpecPatch"])
        assert patch["terminationGracePeriodSeconds"] == pod["spec"]["terminationGracePeriodSeconds"]

    def test_it_is_retried_like_the_job(self):
        retries = self.step["retryStrategy"]
        codes = json.loads(retries["expression"].removeprefix("asInt(lastRetry.exitCode) in "))
        assert codes == [-1, *AGAIN]
        assert retries["limit"] == "20"
        steady = main(training(**GPU | {"spot": False}), orchestrator="argo")
        assert steady["spec"]["templates"][0]["retryStrategy"]["limit"] == str(Limits().restarts)

    def test_argo_finds_no_template_in_the_document(self):
        workload = replace(
            self.workload, document={"config": {"prompt": "{{workflow.name}} {{{x}}}"}, "a": {"b": {}}}
        )
        for nodes in (1, 2):
            asked = replace(workload, document={**workload.document, "resources": {"nodes": nodes}})
            step = main(asked, orchestrator="argo")["spec"]["templates"][0]
            assert "{{" not in json.dumps(step)
        told = main(workload, orchestrator="argo")["spec"]["templates"][0]["metadata"]["annotations"][
            DOCUMENT
        ]
        assert json.loads(told) == workload.document

    def test_only_argo_s_own_container_speaks_to_the_cluster(self):
        assert self.manifest["spec"]["automountServiceAccountToken"] is False
        assert self.manifest["spec"]["executor"] == {"serviceAccountName": "executor"}

    def test_the_step_of_several_nodes_is_let_to_the_api_server_and_is_no_pod_of_the_workload(self):
        workload = training(**GPU | {"nodes": 2})
        made = manifests(workload, settings(orchestrator="argo", egress="172.20.0.0/28"))
        (step,) = made[0]["spec"]["templates"]
        chosen = made[1]["spec"]["podSelector"]["matchLabels"]
        assert chosen.items() <= step["metadata"]["labels"].items()
        assert "kuznia.dev/workload" not in step["metadata"]["labels"]
        outside = [rule["to"] for rule in made[1]["spec"]["egress"] if rule.get("ports") == HTTPS]
        assert {"ipBlock": {"cidr": "172.20.0.0/28"}} in outside[0]

    def test_several_nodes_are_a_jobset_that_it_makes_and_watches(self):
        workload = training(**GPU | {"nodes": 2})
        step = main(workload, orchestrator="argo")["spec"]["templates"][0]
        made = json.loads(step["resource"]["manifest"])
        assert (made["kind"], made["metadata"]["name"]) == ("JobSet", workload.name)
        assert step["resource"]["action"] == "create"


class TestNetwork:
    def policy(self, **changed: Any) -> Object:
        return manifests(training(), settings(**changed))[1]

    def test_the_tenant_s_jobs_speak_to_each_other_and_to_nobody_else_s(self):
        policy = self.policy()
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert chosen["kuznia.dev/tenant"] == "team-x"
        assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": chosen}}]}]

    def test_outside_only_https_and_no_private_network_that_was_not_named(self):
        (*_, outside) = self.policy(egress="10.8.0.0/16")["spec"]["egress"]
        public, named = (peer["ipBlock"] for peer in outside["to"])
        assert "10.0.0.0/8" in public["except"]
        assert "169.254.0.0/16" in public["except"]
        assert named == {"cidr": "10.8.0.0/16"}
        assert outside["ports"] == [{"protocol": "TCP", "port": 443}]

    def test_it_is_the_same_for_every_job_of_the_tenant(self):
        assert self.policy() == manifests(training(**GPU), settings())[1]

    def test_a_plain_server_is_asked_by_the_platform_by_its_tenant_s_judges_and_by_nobody_else(self):
        """A namespace of tenants lets nothing in, and nothing out but names."""
        deployment, _, policy = manifests(SERVER, settings(egress="10.8.0.0/16", platform_namespace="forge"))
        assert policy["metadata"]["namespace"] == deployment["metadata"]["namespace"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        platform = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "forge"}}}
        (port,) = container_of(deployment)["ports"]
        ports = [{"protocol": "TCP", "port": port["containerPort"]}]
        judges = askers("team-x", settings())
        assert policy["spec"]["ingress"] == [{"from": [platform], "ports": ports}, *judges]
        (*_, outside) = policy["spec"]["egress"]
        assert {"ipBlock": {"cidr": "10.8.0.0/16"}} in outside["to"]

    def test_tenants_that_share_a_namespace_keep_a_policy_each(self):
        """Applied by force, a policy of the same name would take the other's place."""
        shared = settings(namespace="trainings", server_namespace="engines")
        for workload in (training(), SERVER):
            other = replace(workload, labels={"tenant": "other"})
            places = [manifests(each, shared)[-1]["metadata"] for each in (workload, other)]
            assert places[0]["namespace"] == places[1]["namespace"]
            assert places[0]["name"] != places[1]["name"]

    def test_a_cluster_may_want_none(self):
        assert len(manifests(training(), settings(network_policy=False))) == 1
        assert len(manifests(SERVER, settings(network_policy=False))) == 2


class TestServer:
    def test_it_is_ready_when_its_path_answers_and_found_by_its_name(self):
        deployment, service, _ = manifests(SERVER, settings())
        assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
        assert deployment["metadata"]["name"] == service["metadata"]["name"] == "serve-x"
        main = container_of(deployment)
        assert main["readinessProbe"]["httpGet"] == {"path": "/v1/models", "port": "http"}
        probe = main["startupProbe"]
        assert probe["periodSeconds"] * probe["failureThreshold"] == 600
        assert deployment["spec"]["progressDeadlineSeconds"] == 600

    def test_it_listens_where_the_service_leads(self):
        deployment, service, _ = manifests(SERVER, settings(port=9000))
        assert values(deployment)["KUZNIA_ADDRESS"] == "$(KUZNIA_POD_IP):9000"
        assert service["spec"]["ports"][0]["port"] == 9000


def test_manifests_are_json():
    for workload, changed in CASES.values():
        for manifest in manifests(workload, settings(**changed)):
            assert json.loads(msgspec.json.encode(manifest)) == manifest
