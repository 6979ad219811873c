"""How a workload stands and why: from objects as Kubernetes 1.33, JobSet, Argo and Kueue write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.kubernetes.causes import Cause, cause_of, settled

NOW = "2026-11-23T10:00:00Z"
Object = dict[str, Any]


def job(*conditions: Object, **spec: Any) -> Object:
    return {
        "kind": "Job",
        "metadata": {"name": "train-r-1", "namespace": "team-x", "creationTimestamp": NOW, "labels": {}},
        "spec": spec,
        "status": {"conditions": list(conditions)},
    }


def is_(kind: str, reason: str = "", message: str = "", status: str = "True") -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW}


FAILED = is_("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
VERDICT = is_(
    "Failed",
    "PodFailurePolicy",
    "Container main for pod team-x/p failed with exit code 1 matching FailJob rule at index 1",
)


def pod(
    phase: str = "Pending", *, born: int = 0, name: str = "", labels: Object | None = None, **status: Any
) -> Object:
    return {
        "metadata": {
            "name": name or f"train-r-1-{born}",
            "namespace": "team-x",
            "creationTimestamp": f"2026-11-23T10:{born:02}:00Z",
            "labels": labels or {},
        },
        "spec": {
            "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/trainer:1",
                    "resources": {"limits": {"memory": "24Gi"}, "requests": {"nvidia.com/gpu": "1"}},
                }
            ],
        },
        "status": {"phase": phase, **status},
    }


def container(state: str, name: str = "main", **fields: Any) -> Object:
    return {"containerStatuses": [{"name": name, "state": {state: fields}}]}


def died(code: int, reason: str = "Error", message: str = "", **more: Any) -> Object:
    state = container("terminated", exitCode=code, reason=reason, message=message, finishedAt=NOW)
    return pod("Failed", **state, **more)


def waits(reason: str, message: str = "") -> Object:
    return pod(**container("waiting", reason=reason, message=message))


def event(reason: str, message: str, name: str = "train-r-1-0", at: str = NOW, kind: str = "Pod") -> Object:
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "involvedObject": {"kind": kind, "name": name},
    }


def unschedulable(message: str) -> Object:
    return pod(conditions=[is_("PodScheduled", "Unschedulable", message, "False")])


class TestOfAJob:
    def test_it_goes_well(self):
        assert cause_of(job(), [pod("Running", **container("running"))]) == Cause(phase="running")
        complete = job(is_("SuccessCriteriaMet"), is_("Complete"))
        assert cause_of(complete, [pod("Succeeded")]) == Cause(phase="succeeded", exit_code=0)
        assert cause_of(job()).phase == "pending"

    def test_its_pod_s_own_verdict_is_told_in_its_own_words(self):
        cause = cause_of(job(VERDICT), [died(1, message="failed: data set x is not there\n")])
        assert (cause.phase, cause.reason, cause.exit_code) == ("failed", "Error", 1)
        assert cause.message == "failed: data set x is not there"

    def test_it_wrote_nothing(self):
        assert cause_of(job(VERDICT), [died(3)]).message == "it ended with exit code 3 and wrote nothing"

    def test_out_of_memory(self):
        cause = cause_of(job(FAILED), [died(137, "OOMKilled", "step 3/48")])
        assert (cause.phase, cause.reason, cause.exit_code) == ("failed", "OutOfMemory", 137)
        assert cause.message.startswith(
            "it used more memory than its limit of 24Gi: lower per_device_train_batch_size"
        )
        assert cause.message.endswith("step 3/48")

    @pytest.mark.parametrize(
        ("told", "mend"),
        [
            (
                "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi.",
                "resources.disk_gb",
            ),
            ('Usage of EmptyDir volume "home" exceeds the limit "10Gi".', "resources.disk_gb"),
            ("The node was low on resource: memory.", "resources.memory_gb"),
            ("The node was low on resource: inodes.", "inodes"),
        ],
    )
    def test_evicted(self, told: str, mend: str):
        gone = pod("Failed", reason="Evicted", message=told, **container("terminated", exitCode=137))
        cause = cause_of(job(FAILED), [gone])
        assert (cause.phase, cause.reason) == ("failed", "Evicted")
        assert told in cause.message
        assert mend in cause.message

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("TerminationByKubelet", "spot machines"),
            ("DeletionByPodGC", "its node is gone"),
            ("PreemptionByScheduler", "higher priority"),
            ("SomethingNew", "because of something new"),
        ],
    )
    def test_taken_away_it_comes_again(self, reason: str, words: str):
        taken = died(143, conditions=[is_("DisruptionTarget", reason, "because of something new")])
        cause = cause_of(job(), [taken])
        assert (cause.phase, cause.reason, cause.patience) == ("pending", "Preempted", None)
        assert words in cause.message
        again = cause_of(job(), [taken, pod("Running", born=1, **container("running"))])
        assert again.phase == "running"

    @pytest.mark.parametrize(
        ("code", "reason", "words"),
        [
            (137, "Killed", "killed by SIGKILL"),
            (139, "Killed", "SIGSEGV"),
            (75, "Preempted", ""),
            (76, "LostPeer", "another node"),
        ],
    )
    def test_ends_that_are_no_verdict(self, code: int, reason: str, words: str):
        cause = cause_of(job(FAILED), [died(code)])
        assert (cause.phase, cause.reason, cause.exit_code) == ("failed", reason, code)
        assert words in cause.message

    def test_after_all_restarts_the_last_one_is_told(self):
        cause = cause_of(job(FAILED), [died(137, born=born) for born in (2, 0, 1)] + [died(139, born=3)])
        assert cause.reason == "Killed"
        assert cause.message == "killed by SIGSEGV\n(after 4 starts)"

    def test_late(self):
        late = is_("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
        cause = cause_of(job(late, activeDeadlineSeconds=3600), [died(143)])
        assert (cause.reason, cause.message) == ("DeadlineExceeded", "it did not end within 3600 s")

    def test_its_pods_are_gone(self):
        cause = cause_of(job(FAILED))
        assert (cause.reason, cause.message) == ("Vanished", "Job has reached the specified backoff limit")
        lost = pod("Failed", message="Node is shutting down")
        assert cause_of(job(FAILED), [lost]).message == "Node is shutting down"

    def test_a_container_that_cannot_start(self):
        cause = cause_of(job(VERDICT), [died(128, "StartError", 'exec: "tini": executable file not found')])
        assert cause.reason == "Error"
        assert "executable file not found" in cause.message


class TestNotYetRunning:
    @pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName"])
    def test_an_image_that_cannot_be_pulled(self, reason: str):
        cause = cause_of(job(), [waits(reason, "not found")], [event("Failed", "manifest unknown")])
        assert (cause.phase, cause.reason) == ("pending", "ImagePullBackOff")
        assert (
            "image registry.example/trainer:1 cannot be pulled: correct KUZNIA_K8S_TRAINER_IMAGE"
            in cause.message
        )
        assert cause.message.endswith("not found")

    def test_a_secret_that_is_not_there(self):
        cause = cause_of(job(), [waits("CreateContainerConfigError", 'secret "hf-token" not found')])
        assert cause.reason == "CreateContainerConfigError"
        assert cause.message == "secret hf-token is not in namespace team-x: make it there"

    @pytest.mark.parametrize(
        ("told", "mend"),
        [
            ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "enlarge the pool"),
            (
                "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
                "correct resources.gpu",
            ),
            (
                "0/3 nodes are available: 1 Insufficient memory, 2 node(s) had untolerated taint {x: y}.",
                "resources.memory_gb",
            ),
            ("0/3 nodes are available: 3 Insufficient ephemeral-storage.", "resources.disk_gb"),
        ],
    )
    def test_no_node_is_for_it(self, told: str, mend: str):
        cause = cause_of(job(), [unschedulable(told)])
        assert (cause.phase, cause.reason) == ("pending", "Unschedulable")
        assert mend in cause.message
        assert told in cause.message
        assert (
            "it asks for 1 nvidia.com/gpu, a node with cloud.google.com/gke-accelerator=nvidia-l4"
            in cause.message
        )

    def test_a_node_is_on_its_way(self):
        events = [
            event("NotTriggerScaleUp", "no", at="2026-11-23T09:00:00Z"),
            event("TriggeredScaleUp", "pod triggered scale-up: [{l4 0->1}]"),
        ]
        cause = cause_of(job(), [unschedulable("0/3 nodes are available")], events)
        assert (cause.reason, cause.patience) == ("Starting", None)
        assert cause.message.startswith("a node is being made for it")

    @pytest.mark.parametrize("reason", ["NotTriggerScaleUp", "FailedScaleUp"])
    def test_no_node_is_added(self, reason: str):
        before = event("TriggeredScaleUp", "l4 0->1", at="2026-11-23T09:00:00Z")
        events = [before, event(reason, "1 max node group size reached")]
        cause = cause_of(job(), [unschedulable("0/3 nodes are available")], events)
        assert cause.reason == "Unschedulable"
        assert "no node is added: 1 max node group size reached" in cause.message

    def test_a_volume_that_does_not_come(self):
        cause = cause_of(job(), [waits("ContainerCreating")], [event("FailedMount", "timed out")])
        assert (cause.reason, cause.message) == ("Starting", "timed out")

    def test_an_init_container_that_cannot_be_pulled(self):
        status = {
            "initContainerStatuses": [{"name": "weights", "state": {"waiting": {"reason": "ErrImagePull"}}}]
        }
        assert cause_of(job(), [pod(**status)]).reason == "ImagePullBackOff"

    def test_a_sidecar_that_runs_says_nothing_of_its_pod(self):
        status = container("running") | {
            "initContainerStatuses": [{"name": "gke-gcsfuse-sidecar", "state": {"running": {}}}]
        }
        assert cause_of(job(), [pod("Running", **status)]).phase == "running"

    def test_waiting_in_the_queue(self):
        waiting = job(is_("Suspended"), suspend=True)
        waiting["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
        told = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor l4"
        cause = cause_of(waiting, [], [event("Pending", told, "job-train-r-1-a1b2c", kind="Workload")])
        assert (cause.phase, cause.reason) == ("pending", "Queued")
        assert cause.message == f"it waits in queue gpus for quota: {told}"
        other = [event("Pending", told, "job-train-r-12-a1b2c", kind="Workload")]
        assert cause_of(waiting, [], other).message == "it waits in queue gpus for quota"
        gated = pod(conditions=[is_("PodScheduled", "SchedulingGated", "", "False")])
        assert cause_of(job(), [gated]).reason == "Queued"

    def test_the_tenant_s_quota_is_used_up(self):
        told = 'pods "train-r-1-x" is forbidden: exceeded quota: tenant, requested: requests.nvidia.com/gpu=1'
        cause = cause_of(job(), [], [event("FailedCreate", told, "train-r-1", kind="Job")])
        assert (cause.reason, cause.patience) == ("QuotaExceeded", None)
        assert told in cause.message

    def test_what_admission_refuses_is_told(self):
        told = 'error looking up service account team-x/trainer: serviceaccount "trainer" not found'
        cause = cause_of(job(), [], [event("FailedCreate", told, "train-r-1", kind="Job")])
        assert (cause.reason, cause.message) == ("FailedCreate", told)

    def test_what_mends_itself_seldom_fails_after_a_while(self):
        began = datetime(2026, 11, 23, 10, tzinfo=UTC)
        cause = cause_of(job(), [waits("ImagePullBackOff", "not found")])
        assert settled(cause, began + timedelta(seconds=599)) == cause
        over = settled(cause, began + timedelta(seconds=600))
        assert (over.phase, over.reason) == ("failed", "ImagePullBackOff")
        assert over.message.startswith("for 600 s: image registry.example/trainer:1 cannot be pulled")
        queued = cause_of(job(is_("Suspended"), suspend=True))
        assert settled(queued, began + timedelta(days=30)) == queued


class TestOfSeveralNodes:
    def jobset(self, *conditions: Object) -> Object:
        template = {"spec": {"activeDeadlineSeconds": 60}}
        return {**job(*conditions, replicatedJobs=[{"name": "node", "template": template}]), "kind": "JobSet"}

    def node(self, number: int, code: int, restart: str = "0", **more: Any) -> Object:
        labels = {"jobset.sigs.k8s.io/restart-attempt": restart}
        return died(code, name=f"train-r-1-node-0-{number}-x", labels=labels, born=int(restart), **more)

    def test_who_began_it_is_told_not_who_died_of_it(self):
        pods = [self.node(0, 76), self.node(1, 1, message="failed: CUDA out of memory"), self.node(2, 143)]
        cause = cause_of(self.jobset(is_("Failed", "FailedJobs", "jobset failed")), pods)
        assert (cause.reason, cause.exit_code, cause.message) == ("Error", 1, "failed: CUDA out of memory")

    def test_earlier_restarts_are_past(self):
        pods = [self.node(0, 1, message="old"), self.node(1, 137, "2", message="new"), self.node(0, 76, "2")]
        cause = cause_of(self.jobset(is_("Failed", "FailedJobs")), pods)
        assert (cause.reason, cause.message) == ("Killed", "killed by SIGKILL\nnew")

    def test_it_runs_once_all_do(self):
        labels = {"jobset.sigs.k8s.io/restart-attempt": "1"}
        running = pod("Running", name="a", labels=labels, **container("running"))
        waiting = pod(
            name="b", labels=labels, conditions=[is_("PodScheduled", "Unschedulable", "no", "False")]
        )
        assert cause_of(self.jobset(), [running, waiting]).reason == "Unschedulable"
        assert cause_of(self.jobset(), [running]).phase == "running"

    def test_it_goes_well_or_is_late(self):
        assert cause_of(self.jobset(is_("Completed"))).phase == "succeeded"
        assert (
            cause_of(self.jobset(is_("Failed", "DeadlineExceeded"))).message == "it did not end within 60 s"
        )
        assert cause_of(self.jobset(is_("Suspended")), []).reason == "Suspended"

    def test_its_job_says_of_what_it_failed(self):
        by_rule = self.jobset(is_("Failed", "FailJobSetFailurePolicyAction", "jobset failed"))
        late = {"status": {"conditions": [is_("Failed", "DeadlineExceeded", "Job was active longer")]}}
        cause = cause_of(by_rule, [self.node(0, 143)], child=late)
        assert (cause.reason, cause.message) == ("DeadlineExceeded", "it did not end within 60 s")
        assert cause_of(by_rule, [self.node(0, 143)]).reason == "Killed"

    def test_its_job_says_why_there_is_no_pod(self):
        told = 'pods "x" is forbidden: exceeded quota: tenant, requested: requests.nvidia.com/gpu=8'
        events = [event("FailedCreate", told, "train-r-1-node-0", kind="Job")]
        assert cause_of(self.jobset(), [], events).reason == "QuotaExceeded"


class TestOfAWorkflow:
    def workflow(self, phase: str, message: str = "") -> Object:
        return {
            **job(activeDeadlineSeconds=60),
            "kind": "Workflow",
            "status": {"phase": phase, "message": message},
        }

    def test_it_goes_well(self):
        assert cause_of(self.workflow("Succeeded")).phase == "succeeded"
        assert cause_of(self.workflow("Running"), [pod("Running", **container("running"))]).phase == "running"
        assert cause_of(self.workflow("")).phase == "pending"

    def test_its_pod_tells_more_than_it_does(self):
        cause = cause_of(self.workflow("Failed", "OOMKilled (exit code 137)"), [died(137, "OOMKilled")])
        assert (cause.reason, cause.exit_code) == ("OutOfMemory", 137)

    def test_it_never_had_a_pod(self):
        cause = cause_of(self.workflow("Error", "pods is forbidden"))
        assert (cause.phase, cause.message) == ("failed", "pods is forbidden")

    def test_it_is_late(self):
        cause = cause_of(self.workflow("Failed", "Step exceeded its deadline"), [died(143)])
        assert (cause.reason, cause.message) == ("DeadlineExceeded", "it did not end within 60 s")

    def test_argo_s_own_container_failed(self):
        statuses = [
            {"name": "wait", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}},
            {"name": "main", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        ]
        failed = pod("Failed", containerStatuses=statuses)
        assert cause_of(self.workflow("Error"), [failed]).message == "another container of its pod failed"


class TestOfAServer:
    def deployment(self, *conditions: Object, **status: Any) -> Object:
        return {
            "kind": "Deployment",
            "metadata": {"name": "serve", "generation": 2},
            "spec": {"replicas": 1},
            "status": {"conditions": list(conditions), "observedGeneration": 2, **status},
        }

    def crashed(self, code: int, message: str = "") -> Object:
        ended = {"terminated": {"exitCode": code, "reason": "Error", "message": message}}
        waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        return pod("Running", containerStatuses=[{"name": "main", "state": waiting, "lastState": ended}])

    def test_it_is_ready_when_all_of_this_generation_are(self):
        assert cause_of(self.deployment(availableReplicas=1, updatedReplicas=1)).phase == "ready"
        assert cause_of(self.deployment(availableReplicas=1, updatedReplicas=0)).phase == "pending"
        stale = self.deployment(availableReplicas=1, updatedReplicas=1, observedGeneration=1)
        assert cause_of(stale).phase == "pending"

    def test_it_runs_before_it_is_ready(self):
        assert cause_of(self.deployment(), [pod("Running", **container("running"))]).phase == "running"

    def test_its_own_verdict_is_final_and_a_kill_is_not(self):
        cause = cause_of(self.deployment(), [self.crashed(1, "the weights are not as their manifest says")])
        assert (cause.phase, cause.reason, cause.exit_code) == ("failed", "Error", 1)
        assert cause.message == "the weights are not as their manifest says"
        assert cause_of(self.deployment(), [self.crashed(137)]).phase == "pending"

    def test_not_ready_in_time(self):
        late = is_("Progressing", "ProgressDeadlineExceeded", "it has timed out progressing", "False")
        running = pod("Running", **container("running"))
        cause = cause_of(self.deployment(late), [running])
        assert (cause.phase, cause.reason) == ("failed", "NotReady")
        assert cause.message == "it has timed out progressing"
        pulled = cause_of(self.deployment(late), [waits("ImagePullBackOff", "not found")])
        assert (pulled.phase, pulled.reason) == ("failed", "ImagePullBackOff")
        assert "cannot be pulled" in pulled.message

    def test_why_its_pods_cannot_be_made(self):
        told = 'pods "serve-x" is forbidden: exceeded quota: tenant, requested: pods=1'
        unmade = is_("ReplicaFailure", "FailedCreate", told)
        assert cause_of(self.deployment(unmade)).reason == "QuotaExceeded"
        late = is_("Progressing", "ProgressDeadlineExceeded", "it has timed out progressing", "False")
        assert cause_of(self.deployment(late, unmade)).message == told


def test_another_kind_is_no_workload():
    with pytest.raises(KeyError):
        cause_of({"kind": "CronJob"})
