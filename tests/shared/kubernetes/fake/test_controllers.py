"""Controllers of the fake cluster: Jobs, Deployments, the scheduler, the kubelet, JobSets, Workflows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.kubernetes.fake.objects import condition, holds
from shared.kubernetes.fake.runtime import Life, Start
from tests.shared.kubernetes.fake.requests import (
    DEPLOYMENTS,
    JOBS,
    PODS,
    Hands,
    deployment,
    job,
    pod,
    template,
)

JOBSETS = "/apis/jobset.x-k8s.io/v1alpha2/namespaces/default/jobsets"
WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/default/workflows"
IGNORE = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
VERDICT = {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [75, 137, 143]}}


@pytest.fixture
def hands() -> Hands:
    return Hands()


def living(hands: Hands, *lives: Life) -> None:
    """Each start takes the next; the last is for all that follow."""
    left = list(lives)

    def next_life(_start: Start) -> Life:
        return (
            left.pop(0)
            if len(left) > 1
            else Life(**{name: getattr(left[0], name) for name in ("seconds", "code", "on_term", "output")})
        )

    hands.cluster.runtime.lives = next_life  # type: ignore[attr-defined]


def why(hands: Hands, name: str = "fit") -> tuple[str, str]:
    """Reason and message of a failed Job."""
    failed = condition(hands.get(f"{JOBS}/{name}"), "Failed")
    assert failed
    return failed["reason"], failed["message"]


def phases(hands: Hands) -> list[str]:
    return [item["status"]["phase"] for item in hands.get(PODS)["items"]]


class TestJobs:
    def test_it_completes(self, hands: Hands):
        living(hands, Life(seconds=5))
        hands.create(JOBS, job())
        hands.pass_(0)
        status = hands.get(f"{JOBS}/fit")["status"]
        assert (status["active"], status["ready"], status["startTime"]) == (1, 1, "2030-01-01T00:00:00Z")
        hands.pass_(5)
        status = hands.get(f"{JOBS}/fit")["status"]
        assert (status["succeeded"], status["active"], status["completionTime"]) == (
            1,
            0,
            "2030-01-01T00:00:05Z",
        )
        assert [each["type"] for each in status["conditions"]] == ["SuccessCriteriaMet", "Complete"]

    def test_it_is_tried_again_as_often_as_its_limit_says(self, hands: Hands):
        living(hands, Life(seconds=1, code=137))
        hands.create(JOBS, job(backoffLimit=2))
        for _ in range(10):
            hands.pass_(1)
        assert why(hands)[0] == "BackoffLimitExceeded"
        assert phases(hands) == ["Failed"] * 3

    def test_a_pause_grows_with_every_failure(self):
        hands = Hands(backoff=10)
        living(hands, Life(seconds=0, code=137))
        hands.create(JOBS, job(backoffLimit=9))
        starts = []
        for second in range(100):
            before = len(hands.get(PODS)["items"])
            hands.pass_(1)
            starts += [second] if len(hands.get(PODS)["items"]) > before else []
        assert starts == [0, 10, 30, 70]

    def test_a_verdict_is_final(self, hands: Hands):
        living(hands, Life(seconds=1, code=3))
        hands.create(JOBS, job(podFailurePolicy={"rules": [IGNORE, VERDICT]}))
        hands.pass_(0)
        hands.pass_(1)
        reason, message = why(hands)
        assert reason == "PodFailurePolicy"
        assert "failed with exit code 3 matching FailJob rule at index 1" in message

    def test_a_disruption_costs_no_restart(self, hands: Hands):
        hands.create(JOBS, job(backoffLimit=0, podFailurePolicy={"rules": [IGNORE, VERDICT]}))
        for number in range(3):
            hands.pass_(1)
            hands.cluster.node(f"spot-{number}")
            (node,) = {
                item["spec"]["nodeName"]
                for item in hands.get(PODS, fieldSelector="status.phase=Running")["items"]
            }
            hands.cluster.preempt(node)
        hands.pass_(30)
        status = hands.get(f"{JOBS}/fit")["status"]
        assert (status["active"], status.get("failed", 0)) == (1, 0)

    def test_a_deadline(self, hands: Hands):
        hands.create(JOBS, job(activeDeadlineSeconds=10))
        hands.pass_(0)
        hands.pass_(10)
        assert why(hands) == ("DeadlineExceeded", "Job was active longer than specified deadline")
        assert all(
            "deletionTimestamp" in item["metadata"] or item["status"]["phase"] == "Failed"
            for item in hands.get(PODS)["items"]
        )

    def test_it_waits_while_it_is_suspended(self, hands: Hands):
        hands.create(JOBS, job(suspend=True))
        hands.pass_(5)
        assert phases(hands) == []
        hands.merge(f"{JOBS}/fit", {"spec": {"suspend": False}})
        hands.pass_(0)
        assert phases(hands) == ["Running"]
        hands.merge(f"{JOBS}/fit", {"spec": {"suspend": True}})
        hands.pass_(40)
        assert hands.get(f"{JOBS}/fit")["status"]["active"] == 0
        assert holds(hands.get(f"{JOBS}/fit"), "Suspended")

    def test_it_goes_after_its_time(self, hands: Hands):
        living(hands, Life(seconds=0))
        hands.create(JOBS, job(ttlSecondsAfterFinished=60))
        hands.pass_(1)
        hands.pass_(58)
        assert len(hands.get(JOBS)["items"]) == 1
        hands.pass_(2)
        hands.pass_(0)
        assert hands.get(JOBS)["items"] == hands.get(PODS)["items"] == []

    def test_indexes_count_their_failures_apart(self, hands: Hands):
        living(hands, Life(seconds=0, code=137), Life(seconds=0), Life(seconds=0))
        hands.create(
            JOBS, job(completionMode="Indexed", completions=2, parallelism=2, backoffLimitPerIndex=1)
        )
        hands.pass_(1)
        hands.pass_(1)
        status = hands.get(f"{JOBS}/fit")["status"]
        assert (status["completedIndexes"], status["succeeded"], status["failed"]) == ("0,1", 2, 1)
        counts = [
            item["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"]
            for item in hands.get(PODS)["items"]
        ]
        assert sorted(counts) == ["0", "0", "1"]

    def test_a_quota_is_told(self, hands: Hands):
        hands.create("/api/v1/namespaces", {"metadata": {"name": "acme"}})
        hands.create("/apis/batch/v1/namespaces/acme/jobs", job())
        hands.merge("/api/v1/namespaces/acme", {"metadata": {"finalizers": ["a/b"]}})
        hands.delete("/api/v1/namespaces/acme")
        hands.cluster.step()


class TestScheduler:
    @pytest.mark.parametrize(
        ("spec", "why"),
        [
            ({"nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-h100"}}, "node affinity/selector"),
            (
                {"containers": [{"name": "m", "image": "i", "resources": {"limits": {"nvidia.com/gpu": 9}}}]},
                "Insufficient nvidia.com/gpu",
            ),
            (
                {"containers": [{"name": "m", "image": "i", "resources": {"requests": {"memory": "1Ti"}}}]},
                "Insufficient memory",
            ),
        ],
    )
    def test_who_finds_no_node_is_told_why(self, hands: Hands, spec: dict[str, Any], why: str):
        hands.create(PODS, pod(**spec))
        hands.pass_(0)
        told = condition(hands.get(f"{PODS}/one"), "PodScheduled")
        assert told
        assert told["reason"] == "Unschedulable"
        assert told["message"].startswith("0/1 nodes are available: 1 ")
        assert why in told["message"]
        (event,) = hands.get("/api/v1/events", fieldSelector="involvedObject.name=one")["items"]
        assert event["reason"] == "FailedScheduling"

    def test_places_are_taken_and_given_back(self, hands: Hands):
        gpus = {"containers": [{"name": "m", "image": "i", "resources": {"limits": {"nvidia.com/gpu": "5"}}}]}
        living(hands, Life(seconds=10))
        hands.create(PODS, pod("one", **gpus))
        hands.create(PODS, pod("two", **gpus))
        hands.pass_(0)
        assert phases(hands) == ["Running", "Pending"]
        hands.pass_(10)
        assert phases(hands) == ["Succeeded", "Running"]

    def test_taints_keep_away_who_does_not_tolerate_them(self):
        hands = Hands()
        taint = {"key": "cloud.google.com/gke-spot", "value": "true", "effect": "NoSchedule"}
        hands.merge("/api/v1/nodes/node-0", {"spec": {"taints": [taint]}})
        hands.create(PODS, pod("one"))
        hands.create(
            PODS, pod("two", tolerations=[{"key": taint["key"], "operator": "Equal", "value": "true"}])
        )
        hands.pass_(0)
        assert phases(hands) == ["Pending", "Running"]


class TestKubelet:
    def test_an_image_that_cannot_be_pulled(self, hands: Hands):
        hands.cluster.kubelet.bad_images.add("trainer:1")
        hands.create(PODS, pod())
        hands.pass_(0)
        waiting = hands.get(f"{PODS}/one")["status"]["containerStatuses"][0]["state"]["waiting"]
        assert waiting["reason"] == "ImagePullBackOff"
        hands.cluster.kubelet.bad_images.clear()
        hands.pass_(1)
        assert phases(hands) == ["Running"]

    def test_what_it_refers_to_has_to_be_there(self, hands: Hands):
        token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
        hands.create(PODS, pod(containers=[{"name": "main", "image": "i", "env": [token]}]))
        hands.pass_(0)
        waiting = hands.get(f"{PODS}/one")["status"]["containerStatuses"][0]["state"]["waiting"]
        assert (waiting["reason"], waiting["message"]) == (
            "CreateContainerConfigError",
            'Error: secret "hub" not found',
        )
        hands.create(
            "/api/v1/namespaces/default/secrets", {"metadata": {"name": "hub"}, "stringData": {"token": "t"}}
        )
        hands.pass_(1)
        assert phases(hands) == ["Running"]

    def test_variables_and_files_come_from_the_pod(self, hands: Hands):
        starts: list[Start] = []
        hands.cluster.runtime.lives = lambda start: starts.append(start) or Life()  # type: ignore[attr-defined, func-returns-value]
        hands.create(
            "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "c"}, "data": {"x.txt": "1"}}
        )
        env = [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "ADDRESS", "value": "$(IP):8000 $(ABSENT) $$"},
            {"name": "GPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.nvidia.com/gpu"}}},
        ]
        item = {"path": "document.json", "fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}
        wish = pod(
            containers=[
                {
                    "name": "main",
                    "image": "i",
                    "env": env,
                    "resources": {"limits": {"nvidia.com/gpu": "2"}},
                    "volumeMounts": [
                        {"name": "d", "mountPath": "/etc/d"},
                        {"name": "c", "mountPath": "/etc/c"},
                    ],
                }
            ],
            volumes=[
                {"name": "d", "downwardAPI": {"items": [item]}},
                {"name": "c", "configMap": {"name": "c"}},
            ],
        )
        wish["metadata"]["annotations"] = {"a/b": '{"x": 1}'}
        hands.create(PODS, wish)
        hands.pass_(0)
        (start,) = starts
        address = hands.get(f"{PODS}/one")["status"]["podIP"]
        assert start.environment["ADDRESS"] == f"{address}:8000 $(ABSENT) $"
        assert start.files == {"/etc/d/document.json": b'{"x": 1}', "/etc/c/x.txt": b"1"}

    def test_containers_are_started_again_with_pauses(self):
        hands = Hands(backoff=10)
        living(hands, Life(seconds=0, code=1))
        hands.create(PODS, pod(restartPolicy="Always"))
        counts = []
        for _ in range(80):
            hands.pass_(1)
            counts.append(hands.get(f"{PODS}/one")["status"]["containerStatuses"][0]["restartCount"])
        assert counts[-1] == 4  # after 10, 20 and 40 seconds
        assert (
            hands.get(f"{PODS}/one")["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"]
            == 1
        )

    def test_who_does_not_answer_within_its_startup_probe_is_started_again(self, hands: Hands):
        living(hands, Life(ready_after=1000), Life(ready_after=5))
        probe = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 5, "failureThreshold": 4}
        container = {"name": "main", "image": "engine:1", "startupProbe": probe}
        hands.create(PODS, pod(restartPolicy="Always", containers=[container]))

        def told() -> tuple[int, bool]:
            status = hands.get(f"{PODS}/one")["status"]["containerStatuses"][0]
            return status["restartCount"], status["started"]

        hands.pass_(0)
        hands.pass_(20)
        assert told() == (0, False)
        for _ in range(10):
            hands.pass_(1)
        assert told() == (1, True)

    def test_last_words_are_kept_where_the_pod_asks_for_it(self, hands: Hands):
        living(hands, Life(seconds=0, code=1, output="one\ntwo\n"))
        hands.create(
            PODS,
            pod(
                containers=[
                    {"name": "main", "image": "i", "terminationMessagePolicy": "FallbackToLogsOnError"}
                ]
            ),
        )
        hands.pass_(1)
        ended = hands.get(f"{PODS}/one")["status"]["containerStatuses"][0]["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"], ended["message"]) == (1, "Error", "one\ntwo\n")
        assert hands.get(f"{PODS}/one/log", tailLines="1") == "two\n"

    def test_a_pod_has_its_grace(self, hands: Hands):
        living(hands, Life())
        hands.create(PODS, pod(terminationGracePeriodSeconds=20))
        hands.pass_(0)
        hands.cluster.life(hands.cluster.pods()[0]).on_term = 0
        hands.delete(f"{PODS}/one")
        assert hands.get(f"{PODS}/one")["metadata"]["deletionGracePeriodSeconds"] == 20
        hands.pass_(1)
        assert hands.ask("GET", f"{PODS}/one").code == 404

    def test_memory_space_and_machines_run_out(self, hands: Hands):
        for name in ("hungry", "large", "lost"):
            hands.create(PODS, pod(name))
        hands.pass_(0)
        pods = {item["metadata"]["name"]: item for item in hands.cluster.pods()}
        hands.cluster.starve(pods["hungry"])
        hands.cluster.squeeze(pods["large"])
        hands.pass_(1)
        hands.cluster.lose("node-0")
        hands.pass_(1)
        told = {item["metadata"]["name"]: item["status"] for item in hands.get(PODS)["items"]}
        assert told["hungry"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "OOMKilled"
        assert (told["large"]["reason"], told["large"]["phase"]) == ("Evicted", "Failed")
        assert condition({"status": told["lost"]}, "DisruptionTarget")["reason"] == "DeletionByPodGC"  # type: ignore[index]

    def test_an_eviction_is_asked_for(self, hands: Hands):
        hands.create(PODS, pod())
        hands.pass_(0)
        hands.create(f"{PODS}/one/eviction", {"kind": "Eviction"})
        assert holds(hands.get(f"{PODS}/one"), "DisruptionTarget")
        hands.pass_(1)
        assert hands.ask("GET", f"{PODS}/one").code == 404


class TestDeployments:
    def test_it_becomes_available(self, hands: Hands):
        hands.create(DEPLOYMENTS, deployment(replicas=2))
        hands.pass_(0)
        status = hands.get(f"{DEPLOYMENTS}/web")["status"]
        assert (status["observedGeneration"], status["availableReplicas"], status["updatedReplicas"]) == (
            1,
            2,
            2,
        )
        assert condition({"status": status}, "Progressing")["reason"] == "NewReplicaSetAvailable"  # type: ignore[index]

    def test_old_pods_go_as_new_ones_become_ready(self, hands: Hands):
        probe = {"httpGet": {"path": "/", "port": 80}}
        hands.cluster.runtime.lives = lambda _start: Life(ready_after=10)  # type: ignore[attr-defined]
        hands.create(DEPLOYMENTS, deployment(replicas=2, readinessProbe=probe))
        hands.pass_(0)
        hands.pass_(10)
        patch = {"spec": {"template": {"metadata": {"labels": {"app": "it", "v": "2"}}}}}
        hands.merge(f"{DEPLOYMENTS}/web", patch)
        hands.pass_(1)
        status = hands.get(f"{DEPLOYMENTS}/web")["status"]
        assert (status["availableReplicas"], status["updatedReplicas"], status["replicas"]) == (2, 2, 4)
        hands.pass_(10)
        hands.pass_(1)
        assert {item["metadata"]["labels"].get("v") for item in hands.get(PODS)["items"]} == {"2"}

    def test_it_scales(self, hands: Hands):
        hands.create(DEPLOYMENTS, deployment())
        hands.pass_(0)
        assert hands.get(f"{DEPLOYMENTS}/web/scale")["spec"]["replicas"] == 1
        hands.merge(f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 3}})
        hands.pass_(1)
        assert phases(hands) == ["Running"] * 3
        hands.merge(f"{DEPLOYMENTS}/web", {"spec": {"replicas": 0}})
        hands.pass_(1)
        assert phases(hands) == []

    def test_who_does_not_progress_is_told(self, hands: Hands):
        hands.cluster.kubelet.bad_images.add("trainer:1")
        hands.create(DEPLOYMENTS, deployment())
        hands.merge(f"{DEPLOYMENTS}/web", {"spec": {"progressDeadlineSeconds": 60}})
        hands.pass_(0)
        hands.pass_(61)
        told = condition(hands.get(f"{DEPLOYMENTS}/web"), "Progressing")
        assert told
        assert (told["status"], told["reason"]) == ("False", "ProgressDeadlineExceeded")


def jobset(**spec: Any) -> dict[str, Any]:
    inner = {
        "template": template("Never"),
        "backoffLimit": 0,
        "completionMode": "Indexed",
        "completions": 2,
        "parallelism": 2,
    }
    replicated = [{"name": "node", "replicas": 1, "template": {"spec": inner}}]
    return {"metadata": {"name": "many"}, "spec": {"replicatedJobs": replicated, **spec}}


def workflow(**step: Any) -> dict[str, Any]:
    templates = [{"name": "run", "container": {"name": "main", "image": "trainer:1"}, **step}]
    return {"metadata": {"name": "flow"}, "spec": {"entrypoint": "run", "templates": templates}}


class TestJobSets:
    def test_all_nodes_together(self, hands: Hands):
        living(hands, Life(seconds=5))
        hands.create(JOBSETS, jobset())
        hands.pass_(0)
        assert phases(hands) == ["Running"] * 2
        hands.pass_(5)
        assert hands.get(f"{JOBSETS}/many")["status"]["terminalState"] == "Completed"

    def test_one_death_starts_all_anew(self, hands: Hands):
        living(hands, Life(seconds=1, code=137), Life())
        hands.create(JOBSETS, jobset(failurePolicy={"maxRestarts": 1}))
        hands.pass_(0)
        for _ in range(4):
            hands.pass_(40)
        attempts = {
            item["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"]
            for item in hands.get(PODS)["items"]
        }
        assert attempts == {"1"}
        assert hands.get(f"{JOBSETS}/many")["status"]["restarts"] == 1

    def test_a_rule_may_make_it_final(self, hands: Hands):
        living(hands, Life(seconds=1, code=3))
        rule = {"name": "verdict", "action": "FailJobSet", "onJobFailureReasons": ["BackoffLimitExceeded"]}
        hands.create(JOBSETS, jobset(failurePolicy={"maxRestarts": 9, "rules": [rule]}))
        hands.pass_(0)
        hands.pass_(5)
        assert hands.get(f"{JOBSETS}/many")["status"]["terminalState"] == "Failed"


class TestWorkflows:
    def test_it_succeeds(self, hands: Hands):
        living(hands, Life(seconds=1))
        hands.create(WORKFLOWS, workflow())
        hands.pass_(0)
        hands.pass_(1)
        assert hands.get(f"{WORKFLOWS}/flow")["status"]["phase"] == "Succeeded"

    @pytest.mark.parametrize(("code", "starts"), [(75, 3), (3, 1)])
    def test_it_is_retried_as_its_expression_says(self, hands: Hands, code: int, starts: int):
        living(hands, Life(seconds=0, code=code))
        retry = {"limit": "2", "retryPolicy": "Always", "expression": "asInt(lastRetry.exitCode) in [-1, 75]"}
        hands.create(WORKFLOWS, workflow(retryStrategy=retry))
        for _ in range(5):
            hands.pass_(1)
        assert len(hands.get(PODS)["items"]) == starts
        status = hands.get(f"{WORKFLOWS}/flow")["status"]
        assert (status["phase"], status["message"]) == ("Failed", f"main: Error (exit code {code})")

    def test_it_may_make_something_and_watch_it(self, hands: Hands):
        living(hands, Life(seconds=1))
        manifest = jobset() | {"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet"}
        manifest["metadata"]["namespace"] = "default"
        resource = {
            "action": "create",
            "manifest": json.dumps(manifest),
            "successCondition": "status.terminalState == Completed",
        }
        wish = workflow()
        wish["spec"]["templates"][0] = {"name": "run", "resource": resource}
        hands.create(WORKFLOWS, wish)
        hands.pass_(0)
        hands.pass_(1)
        hands.pass_(0)
        assert hands.get(f"{WORKFLOWS}/flow")["status"]["phase"] == "Succeeded"
