"""The cluster on Kubernetes: what is said of all that may befall a workload, and what survives what."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from shared.errors import Reject, Retry, Unknown
from shared.kubernetes.fake.runtime import Life
from shared.kubernetes.fake.server import Request
from shared.kubernetes.kinds import CONFIG_MAP, DEPLOYMENT, JOB, JOB_SET, POD, SERVICE, Ref
from tests.shared.kubernetes.stepping import TENANT, Rig, job, server

RUNS = [("running", 1)]


@pytest.fixture
def rig() -> Rig:
    return Rig()


class TestCauses:
    """Each ends in one `workload-changed` with a word and a sentence that a person understands."""

    def end(self, rig: Rig) -> tuple[str, str, int | None]:
        last = rig.said[-1]
        assert (last.phase, rig.status().phase) == ("failed", "failed")
        assert (rig.status().reason, rig.status().message) == (last.reason, last.message)
        return last.reason, last.message, last.exit_code

    def test_its_own_verdict(self, rig: Rig):
        rig.lives(Life(seconds=5, code=3, output="loss is nan\n"))
        rig.cluster.apply(job())
        rig.go(10)
        assert rig.story == [*RUNS, ("failed", 1)]
        assert self.end(rig) == ("Error", "loss is nan", 3)

    def test_memory(self, rig: Rig):
        rig.cluster.apply(job(memory_bytes=2**30, restarts=0))
        rig.go(2)
        rig.fake.starve(rig.pods()[0])
        rig.go(3)
        reason, message, code = self.end(rig)
        assert (reason, code) == ("OutOfMemory", 137)
        assert "raise resources.memory_gb" in message

    def test_eviction(self, rig: Rig):
        rig.cluster.apply(job(restarts=0))
        rig.go(2)
        rig.fake.squeeze(rig.pods()[0])
        rig.go(2)
        assert rig.story == [*RUNS, ("running", 2)], "an eviction is no fault of its own"
        assert rig.said[-1].reason == "Evicted"
        assert "raise resources.disk_gb" in rig.said[-1].message

    def test_an_image(self, rig: Rig):
        rig.fake.kubelet.bad_images.add("trainer:1")
        rig.cluster.apply(job())
        rig.go(5)
        assert (rig.status().phase, rig.status().reason) == ("pending", "ImagePullBackOff")
        assert rig.story == []
        rig.go(620)
        reason, message, _ = self.end(rig)
        assert reason == "ImagePullBackOff"
        assert "image trainer:1 cannot be pulled" in message
        assert rig.story == [("failed", 1)]
        assert rig.main() is None, "what can never run is taken away"

    def test_no_node(self, rig: Rig):
        rig.cluster.apply(job(document={"resources": {"gpu": "nvidia-h100-80gb", "gpus": 1}}))
        rig.go(5)
        assert (rig.status().phase, rig.status().reason) == ("pending", "Unschedulable")
        assert "correct resources.gpu" in rig.status().message

    @pytest.mark.parametrize(("patience", "phase"), [(60, "failed"), (600, "pending")])
    def test_how_long_to_wait_for_a_node_is_the_cluster_s_to_say(self, patience: int, phase: str):
        rig = Rig(unschedulable_seconds=patience)
        rig.cluster.apply(job(document={"resources": {"gpu": "nvidia-h100-80gb", "gpus": 1}}))
        rig.go(90)
        assert (rig.status().phase, rig.status().reason) == (phase, "Unschedulable")

    def test_what_kueue_says_of_its_own_object(self):
        rig = Rig(queue="gpus")
        rig.cluster.apply(job())
        told = "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu"
        for name in ("job-work-a1b2c", "job-workout-a1b2c"):
            rig.tell("Pending", f"{told} of {name}", {"kind": "Workload", "name": name})
        rig.go(2)
        assert rig.status().reason == "Queued"
        assert rig.status().message == f"it waits in queue gpus for quota: {told} of job-work-a1b2c"

    def test_what_the_job_of_several_nodes_says(self, rig: Rig):
        rig.cluster.apply(job(document={"resources": {"gpu": "none", "nodes": 2}}))
        rig.go(1, looking=False)
        for pod in rig.pods():
            rig.fake.core.remove(Ref(POD, TENANT, pod["metadata"]["name"]))
        rig.tell("FailedCreate", "exceeded quota: tenant", {"kind": "Job", "name": "work-node-0"})
        rig.look()
        assert (rig.status().phase, rig.status().reason) == ("pending", "QuotaExceeded")

    def test_a_deadline_of_several_nodes(self, rig: Rig):
        document = {"resources": {"gpu": "none", "nodes": 2}}
        rig.cluster.apply(job(document=document, deadline_seconds=20))
        rig.go(60)
        assert self.end(rig)[:2] == ("DeadlineExceeded", "it did not end within 20 s")

    def test_a_deadline_of_several_nodes_is_not_begun_anew_by_a_restart(self, rig: Rig):
        rig.lives(*(Life(seconds=15, code=75) for _ in range(20)))
        document = {"resources": {"gpu": "none", "nodes": 2}}
        rig.cluster.apply(job(document=document, deadline_seconds=40))
        rig.go(100)
        assert self.end(rig)[:2] == ("DeadlineExceeded", "it did not end within 40 s")
        assert len(rig.story) <= 5
        assert rig.fake.core.list(JOB_SET) == rig.pods() == []

    def test_time_in_the_queue_is_no_time_of_several_nodes(self):
        rig = Rig(queue="gpus")
        rig.cluster.apply(job(document={"resources": {"gpu": "none", "nodes": 2}}, deadline_seconds=30))
        place = Ref(JOB_SET, TENANT, "work")
        rig.api.merge(place, {"spec": {"suspend": False}})
        rig.go(10)
        rig.api.merge(place, {"spec": {"suspend": True}})
        rig.go(60)
        assert (rig.status().phase, rig.status().reason) == ("pending", "Queued")
        rig.api.merge(place, {"spec": {"suspend": False}})
        rig.go(20)
        assert rig.status().phase == "running"
        rig.go(20)
        assert self.end(rig)[0] == "DeadlineExceeded"

    def test_a_deadline(self, rig: Rig):
        rig.cluster.apply(job(deadline_seconds=20))
        rig.go(50)
        assert self.end(rig)[:2] == ("DeadlineExceeded", "it did not end within 20 s")

    def test_somebody_deletes_it(self, rig: Rig):
        rig.cluster.apply(job())
        rig.go(3)
        rig.api.delete(Ref(JOB, TENANT, "work"))
        rig.go(60)
        reason, message, _ = self.end(rig)
        assert reason == "Vanished"
        assert message.startswith(
            "its Job was deleted in namespace acme by somebody else, or cleared away 86400 s"
        )
        assert rig.story == [*RUNS, ("failed", 1)]


def evict(rig: Rig, pod: dict[str, Any]) -> None:
    path = POD.path(TENANT, pod["metadata"]["name"], "eviction")
    assert rig.fake.server.handle(Request(method="POST", path=path, body={})).code == 201


class TestPreemption:
    def test_a_spot_machine_is_taken(self, rig: Rig):
        rig.lives(Life(on_term=75, output="saved\n"), Life(seconds=5))
        rig.cluster.apply(job(restarts=0))
        rig.go(2)
        rig.fake.node("node-1", gpus="8")
        rig.fake.preempt("node-0")
        rig.go(10)
        assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]
        assert (rig.said[1].reason, rig.status().phase) == ("Preempted", "succeeded")

    def test_however_often_it_costs_no_restart(self, rig: Rig):
        rig.cluster.apply(job(restarts=1))
        for number in range(5):
            rig.go(2)
            rig.fake.node(f"spot-{number}", gpus="8")
            (node,) = {pod["spec"]["nodeName"] for pod in rig.pods() if pod["status"]["phase"] == "Running"}
            rig.fake.preempt(node)
        rig.go(3)
        assert rig.story == [("running", number) for number in range(1, 7)]

    def test_a_node_is_emptied(self, rig: Rig):
        rig.fake.node("node-1", gpus="8")
        rig.cluster.apply(job(grace_seconds=20))
        rig.go(2)
        (pod,) = rig.pods()
        evict(rig, pod)
        rig.look()
        rig.go(3)
        assert [each["metadata"]["name"] for each in rig.pods()] != [pod["metadata"]["name"]]
        assert (rig.said[-1].attempt, rig.said[-1].reason) == (2, "Preempted")

    def test_a_machine_is_gone_with_its_pod(self, rig: Rig):
        rig.cluster.apply(job())
        rig.go(2)
        rig.fake.lose("node-0")
        rig.go(2)
        assert (rig.status().phase, rig.status().attempt, rig.status().reason) == (
            "pending",
            2,
            "Unschedulable",
        )
        rig.fake.node("node-1", gpus="8")
        rig.go(2)
        assert rig.said[-1].reason == "Preempted"
        assert "its node is gone" in rig.said[-1].message


class TestOutput:
    def test_it_is_kept_when_the_pods_are_gone(self, rig: Rig):
        rig.lives(Life(seconds=2, code=75, output="one\n"), Life(seconds=2, output="two\n"))
        rig.cluster.apply(job())
        rig.go(10)
        rig.go(rig.settings.ttl_seconds - 86_400 + 5)
        rig.api.delete(Ref(JOB, TENANT, "work"))
        rig.go(2)
        assert rig.pods() == []
        lines = rig.cluster.logs("work").splitlines()
        assert [line for line in lines if not line.startswith("===")] == ["one", "two"]
        assert [line.split(",")[0] for line in lines if line.startswith("===")] == [
            "=== attempt 1",
            "=== attempt 2",
        ]
        assert rig.cluster.logs("work", 1) == "two\n"
        assert rig.cluster.logs("work", 0) == ""

    def test_only_so_much_is_kept(self, rig: Rig):
        rig.lives(*(Life(seconds=1, code=75, output=f"{number} {'x' * 200_000}\n") for number in range(7)))
        rig.cluster.apply(job(restarts=9))
        rig.go(10)
        rig.cluster.stop("work")
        rig.go(40)
        text = rig.cluster.logs("work", 10_000)
        assert 5 * 60 * 1024 < len(text) < 6 * 64 * 1024

    def test_what_was_stopped_is_kept_too(self, rig: Rig):
        rig.lives(Life(output="hello\n"))
        rig.cluster.apply(job())
        rig.go(2)
        assert "hello" in rig.cluster.logs("work"), "while it runs"
        rig.cluster.stop("work")
        rig.go(3)
        assert "hello" in rig.cluster.logs("work")


class TestStopping:
    def test_it_has_its_grace_and_nothing_is_said(self, rig: Rig):
        rig.cluster.apply(job(grace_seconds=20))
        rig.go(2)
        rig.cluster.stop("work")
        (pod,) = rig.pods()
        rig.fake.settle()
        assert rig.status().phase == "running", "not before it has ended"
        rig.go(3)
        assert (rig.status().phase, rig.status().reason) == ("failed", "Stopped")
        assert (rig.story, rig.pods(), pod["spec"]["terminationGracePeriodSeconds"]) == (RUNS, [], 20)

    def test_what_is_stopped_stays_stopped(self, rig: Rig):
        rig.cluster.apply(job())
        rig.cluster.stop("work")
        rig.cluster.apply(job())
        rig.go(5)
        rig.cluster.apply(job())
        rig.go(5)
        assert (rig.status().reason, rig.main()) == ("Stopped", None)

    def test_a_stop_that_was_cut_off_is_finished(self, rig: Rig):
        rig.cluster.apply(job())
        rig.go(2)
        rig.faults.plan("503", "delete", "jobs")
        with pytest.raises(Retry):
            rig.cluster.stop("work")
        rig.go(5)
        assert (rig.status().reason, rig.main()) == ("Stopped", None)

    def test_what_ended_before_is_not_stopped(self, rig: Rig):
        rig.lives(Life(seconds=1))
        rig.cluster.apply(job())
        rig.go(5)
        rig.cluster.stop("work")
        assert rig.status().phase == "succeeded"


class TestRestartsOfThePlatform:
    def test_what_happened_meanwhile_is_said_once(self, rig: Rig):
        rig.lives(Life(seconds=2, code=75), Life(seconds=2))
        rig.cluster.apply(job())
        rig.go(20, looking=False)
        assert rig.events == []
        rig.restart()
        rig.look()
        assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]
        rig.restart()
        rig.look()
        assert len(rig.events) == 3, "nothing is said again"

    def test_a_bus_that_is_away_is_told_later(self, rig: Rig):
        rig.deaf = True
        rig.lives(Life(seconds=2))
        rig.cluster.apply(job())
        rig.go(5)
        rig.restart()
        rig.deaf = False
        rig.go(2)
        assert rig.story == [*RUNS, ("succeeded", 1)]
        assert len(rig.events) == 2

    def test_said_and_not_noted_is_said_again_under_the_same_id(self, rig: Rig):
        rig.cluster.apply(job())
        rig.fake.settle()
        rig.go(1, looking=False)
        rig.faults.plan(
            "503", "patch", "configmaps"
        )  # what was seen is not written down: nothing may be said
        rig.look()
        assert rig.events == []
        rig.look()  # written down
        rig.faults.plan("503", "patch", "configmaps")
        rig.look()  # said, and not noted
        rig.look()
        assert len(rig.events) == 2
        assert len({event.id for event in rig.events}) == 1

    def test_an_application_that_was_cut_off_is_finished(self, rig: Rig):
        rig.faults.plan("503", "create", "jobs")
        with pytest.raises(Retry):
            rig.cluster.apply(job())
        assert rig.main() is None
        rig.go(3)
        assert rig.story == RUNS

    @pytest.mark.parametrize("plural", ["configmaps", "jobs"])
    def test_an_answer_that_never_comes(self, rig: Rig, plural: str):
        rig.faults.plan("lost", "create", plural)
        with pytest.raises(Unknown):
            rig.cluster.apply(job())
        rig.cluster.apply(job())
        rig.go(3)
        assert (len(rig.pods()), rig.story) == (1, RUNS)

    @pytest.mark.parametrize("fault", ["429", "500", "503", "lost", "refused", "409"])
    def test_any_request_may_fail(self, rig: Rig, fault: Any):
        rig.lives(Life(seconds=3, code=75), Life(seconds=3))
        rig.cluster.apply(job())
        for verb, plural in (
            ("get", "configmaps"),
            ("get", "jobs"),
            ("list", "pods"),
            ("patch", "configmaps"),
            ("log", "pods"),
        ):
            rig.faults.plan(fault, verb, plural, times=2)
        rig.go(30)
        assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]
        assert rig.faults.left == 0

    def test_a_stale_list_tells_nothing_wrong(self, rig: Rig):
        rig.lives(Life(seconds=3, code=75), Life(seconds=5))
        rig.cluster.apply(job())
        for _ in range(20):
            rig.faults.plan("stale", "list", "pods")
            rig.go(2)
        assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]

    def test_two_platforms_do_no_harm(self, rig: Rig):
        rig.lives(Life(seconds=3, code=75), Life(seconds=3))
        other = rig.cluster
        rig.restart()
        rig.cluster.apply(job())
        for _ in range(12):
            rig.go(1)
            other.look()
        assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]
        assert len(rig.events) == 3


class TestNames:
    def test_what_is_not_ours_is_left_alone(self, rig: Rig):
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}
        theirs = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work", "namespace": TENANT}}
        rig.api.create({**theirs, "spec": {"template": template}})
        with pytest.raises(Reject, match="is there already, and is not this workload's"):
            rig.cluster.apply(job())
        rig.go(3)
        assert rig.status().phase == "failed"
        assert rig.main()

    def test_a_config_map_that_is_no_workload(self, rig: Rig):
        metadata = {"name": "kuznia", "namespace": "kuznia"}
        rig.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"A": "1"}})
        assert rig.cluster.status("kuznia") is None
        with pytest.raises(FileNotFoundError):
            rig.cluster.logs("kuznia")
        with pytest.raises(Retry, match="a ConfigMap that is not ours has its name in namespace kuznia"):
            rig.cluster.apply(job("kuznia"))

    def test_what_the_cluster_refuses(self, rig: Rig):
        with pytest.raises(Reject, match=r"labels\.tenant is ''"):
            rig.cluster.apply(replace(job(), labels={}))
        assert rig.cluster.status("work") is None

    def test_a_namespace_that_is_missing(self, rig: Rig):
        with pytest.raises(Retry, match='namespaces "other" not found'):
            rig.cluster.apply(replace(job(), labels={"tenant": "other"}))
        rig.fake.namespace("other")
        rig.go(3)
        assert rig.story == RUNS, "the watch makes what was written down"


class TestForgetting:
    def test_only_what_ended(self, rig: Rig):
        rig.lives(Life(seconds=1))
        rig.cluster.apply(job())
        rig.go(1)
        with pytest.raises(Reject, match="is running: stop it first"):
            rig.cluster.forget("work")
        rig.go(5)
        rig.cluster.forget("work")
        rig.cluster.forget("work")
        rig.go(1)
        assert (rig.cluster.status("work"), rig.main(), rig.cluster.list()) == (None, None, [])

    def test_after_its_time(self):
        rig = Rig(keep_seconds=100)
        rig.lives(Life(seconds=1))
        rig.cluster.apply(job())
        rig.go(50)
        assert rig.cluster.expire() == 0
        rig.go(60)
        assert rig.cluster.expire() == 1
        assert rig.fake.core.list(CONFIG_MAP) == []


class TestServers:
    def start(self, rig: Rig, **limits: Any) -> None:
        rig.cluster.apply(server(**limits))
        rig.go(3)

    def test_it_answers_at_its_service(self, rig: Rig):
        rig.lives(Life(ready_after=10))
        self.start(rig)
        assert rig.status("web").phase == "running"
        rig.go(10)
        assert rig.status("web").address == "web.acme-api.svc:8000"
        assert rig.story == [*RUNS, ("ready", 1)]
        assert rig.said[-1].address == "web.acme-api.svc:8000"

    def test_one_that_never_answers(self, rig: Rig):
        rig.lives(Life(ready_after=1000))
        self.start(rig, deadline_seconds=30)
        rig.go(60)
        assert (rig.status("web").phase, rig.status("web").reason) == ("failed", "NotReady")
        assert rig.story == [*RUNS, ("failed", 1)]
        assert rig.fake.core.list(DEPLOYMENT) == rig.fake.core.list(SERVICE) == rig.pods() == []

    def test_one_that_cannot_start(self):
        rig = Rig(backoff=10)
        rig.lives(*(Life(seconds=0, code=1, output="no such adapter\n") for _ in range(5)))
        self.start(rig)
        rig.go(5)
        assert (rig.status("web").reason, rig.status("web").message) == ("Error", "no such adapter")
        assert rig.fake.core.list(DEPLOYMENT) == []
        assert "no such adapter" in rig.cluster.logs("web")

    def test_one_that_dies_is_started_again_by_its_deployment(self, rig: Rig):
        rig.lives(Life(), Life(ready_after=5))
        self.start(rig)
        assert rig.status("web").phase == "ready"
        rig.fake.life(rig.pods()[0]).code = 1
        rig.fake.life(rig.pods()[0]).seconds = 0
        rig.go(20)
        assert rig.status("web").phase == "ready"
        assert rig.said[-1].phase == "ready"

    def test_one_of_several_that_dies_all_the_time_ends_none_of_the_others(self):
        rig = Rig(backoff=1)
        rig.lives(Life(), *(Life(seconds=2, code=1) for _ in range(40)))
        self.start(rig, restarts=1)
        rig.api.merge(Ref(DEPLOYMENT, f"{TENANT}-api", "web"), {"spec": {"replicas": 2}})
        rig.go(40)
        assert max(pod["status"]["containerStatuses"][0]["restartCount"] for pod in rig.pods()) > 2
        assert (rig.status("web").phase, rig.story) == ("ready", [*RUNS, ("ready", 1)])

    def test_what_somebody_else_runs_under_its_name_is_not_taken_over(self, rig: Rig):
        body = {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}
        metadata = {"name": "web", "namespace": f"{TENANT}-api"}
        rig.api.create({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": body})
        with pytest.raises(Reject, match="Service web in namespace acme-api is there already"):
            rig.cluster.apply(server())
        (theirs,) = rig.fake.core.list(SERVICE)
        assert theirs["spec"]["selector"] == {"app": "theirs"}

    def test_a_stop_takes_all_of_it_away(self, rig: Rig):
        self.start(rig)
        rig.cluster.stop("web")
        rig.go(3)
        assert (rig.status("web").phase, rig.status("web").reason) == ("failed", "Stopped")
        assert rig.fake.core.list(DEPLOYMENT) == rig.fake.core.list(SERVICE) == rig.pods() == []
        assert rig.story == [*RUNS, ("ready", 1)]


@pytest.mark.parametrize("kind", ["job", "argo"])
def test_the_same_as_a_workflow(kind: str):
    rig = Rig(orchestrator=kind)
    rig.lives(Life(seconds=2, code=75), Life(seconds=2))
    rig.cluster.apply(job())
    rig.go(12)
    assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]
    assert rig.said[1].reason == "Preempted"


def test_several_nodes_are_one_workload():
    rig = Rig()
    rig.lives(Life(seconds=5, code=75), Life(), Life(seconds=5), Life(seconds=5))
    rig.cluster.apply(job(document={"resources": {"gpu": "none", "nodes": 2}}))
    rig.go(60)
    assert rig.story == [*RUNS, ("running", 2), ("succeeded", 2)]
