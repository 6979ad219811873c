"""The contract of `shared.ports.cluster`, held by each adapter."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from events.catalog import decode
from events.envelope import Event
from events.workload_changed import WorkloadChanged
from shared.errors import Reject
from shared.local.clock import SystemClock
from shared.local.cluster.process_cluster import ProcessCluster
from shared.ports.cluster import Cluster, Limits, Status, Workload
from tests.contracts import kubernetes

PODS = Path(__file__).parents[1] / "shared" / "local" / "cluster" / "pods"
PATIENCE = 60.0
Publish = Callable[[Sequence[Event]], None]


def process_cluster(folder: Path, publish: Publish) -> Iterator[Cluster]:
    cluster = ProcessCluster(folder / "cluster", publish, pods_environment(), SystemClock())
    cluster.start()
    yield cluster
    cluster.close(stop_workloads=True)


def pods_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(PODS)}


def on_kubernetes(kind: str) -> Callable[[Path, Publish], Iterator[Cluster]]:
    def adapter(folder: Path, publish: Publish) -> Iterator[Cluster]:
        yield from getattr(kubernetes, kind)(folder, pods_environment(), publish)

    return adapter


ADAPTERS: dict[str, Callable[[Path, Publish], Iterator[Cluster]]] = {
    "processes": process_cluster,
    "kubernetes": on_kubernetes("in_memory"),
    "kubernetes-http": on_kubernetes("over_http"),
    "kind": on_kubernetes("kind"),
}
MARKS = {"kubernetes-http": [pytest.mark.slow], "kind": [pytest.mark.slow, pytest.mark.kind]}
PARAMETERS = [pytest.param(name, marks=MARKS.get(name, ())) for name in ADAPTERS]


@pytest.fixture
def said() -> list[WorkloadChanged]:
    return []


@pytest.fixture
def reachable(request: pytest.FixtureRequest) -> bool:
    """Whether this machine reaches pods at their addresses."""
    return request.node.callspec.params["cluster"] != "kind"


@pytest.fixture
def shared_folder(cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder that pods see too."""
    if request.node.callspec.params["cluster"] == "kind":
        pytest.skip("pods of a kind cluster do not see the files of this machine")
    return tmp_path


@pytest.fixture(params=PARAMETERS)
def cluster(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    said: list[WorkloadChanged],
    capability: Callable[[str, bool, str], None],
) -> Iterator[Cluster]:
    if request.param == "kind":
        there = bool(os.environ.get(kubernetes.CONTEXT) and os.environ.get(kubernetes.IMAGE))
        capability("kind", there, "a kind cluster: see tests/contracts/kubernetes.py")

    def publish(events: Sequence[Event]) -> None:
        said.extend(decode(event) for event in events)

    yield from ADAPTERS[request.param](tmp_path, publish)


def job(*steps: Sequence[Any], name: str = "job", **limits: Any) -> Workload:
    return Workload(
        name=name,
        service="training",
        key="runs/r-1",
        kind="job",
        module="scripted_pod",
        document={"steps": [list(step) for step in steps]},
        limits=Limits(**{"grace_seconds": 5.0, **limits}),
        labels={"tenant": kubernetes.TENANT},
    )


def server(*steps: Sequence[Any]) -> Workload:
    return replace(job(*steps, name="server"), kind="server", ready_path="/ready")


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def reached(cluster: Cluster, name: str, *phases: str) -> Status:
    def look() -> Status | None:
        status = cluster.status(name)
        assert status
        return status if status.phase in phases else None

    return until(look)


def test_a_job_runs_to_its_end(cluster: Cluster, said: list[WorkloadChanged]) -> None:
    cluster.apply(job(["say", "hello"]))
    status = reached(cluster, "job", "succeeded")
    assert (status.name, status.kind, status.exit_code, status.attempt) == ("job", "job", 0, 1)
    assert "hello" in cluster.logs("job").splitlines()
    until(lambda: [change.phase for change in said] == ["running", "succeeded"])
    assert {(change.service, change.key, change.kind) for change in said} == {("training", "runs/r-1", "job")}


def test_a_failure_has_a_code_and_a_message(cluster: Cluster, said: list[WorkloadChanged]) -> None:
    cluster.apply(job(["say", "loss is nan"], ["leave", 3]))
    status = reached(cluster, "job", "failed")
    assert (status.exit_code, status.reason, status.message) == (3, "Error", "loss is nan")
    last = until(lambda: said[-1] if said and said[-1].phase == "failed" else None)
    assert (last.exit_code, last.reason, last.message, last.attempt) == (3, "Error", "loss is nan", 1)


def test_the_same_again_is_success_and_starts_nothing(cluster: Cluster, shared_folder: Path) -> None:
    pods = shared_folder / "pods"
    workload = job(["note", str(pods)])
    cluster.apply(workload)
    cluster.apply(workload)
    reached(cluster, "job", "succeeded")
    cluster.apply(workload)
    assert len(pods.read_text().splitlines()) == 1
    assert reached(cluster, "job", "succeeded").attempt == 1


def test_many_at_once_are_one(cluster: Cluster, shared_folder: Path) -> None:
    pods = shared_folder / "pods"
    workload = job(["note", str(pods)])
    threads = [threading.Thread(target=cluster.apply, args=(workload,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reached(cluster, "job", "succeeded")
    assert len(pods.read_text().splitlines()) == 1


def test_another_under_the_name_is_refused(cluster: Cluster) -> None:
    cluster.apply(job(["sleep", 600]))
    with pytest.raises(Reject, match="already called 'job'; it differs in document, limits"):
        cluster.apply(job(["say", "other"], memory_bytes=1))
    assert reached(cluster, "job", "running").attempt == 1


def test_all_faults_are_told_at_once(cluster: Cluster) -> None:
    bad = replace(
        server(),
        name="No Label",
        module="rm -rf",
        ready_path="ready",
        document={"x": object()},
        limits=Limits(memory_bytes=-1, restarts=-1),
    )
    with pytest.raises(Reject) as caught:
        cluster.apply(bad)
    for word in (
        "name is",
        "module is",
        "ready_path is",
        "JSON",
        "limits.memory_bytes is -1",
        "limits.restarts is -1",
    ):
        assert word in str(caught.value)
    assert list(cluster.list()) == []


def test_a_job_that_ended_by_no_fault_of_its_own_is_tried_again(
    cluster: Cluster, said: list[WorkloadChanged], shared_folder: Path
) -> None:
    cluster.apply(job(["once", str(shared_folder / "tried"), "leave", 75]))
    assert reached(cluster, "job", "succeeded").attempt == 2
    until(
        lambda: (
            [(change.phase, change.attempt) for change in said]
            == [("running", 1), ("running", 2), ("succeeded", 2)]
        )
    )
    assert said[1].reason == "Preempted"


def test_a_server_becomes_ready_and_stays(
    cluster: Cluster, said: list[WorkloadChanged], reachable: bool
) -> None:
    cluster.apply(server(["serve", "/ready"]))
    status = reached(cluster, "server", "ready")
    if reachable:
        with urllib.request.urlopen(f"http://{status.address}/ready", timeout=5) as response:
            assert response.status == 200
    until(lambda: [change.phase for change in said] == ["running", "ready"])
    assert said[-1].address == status.address


def test_a_stopped_one_stays_stopped(cluster: Cluster, said: list[WorkloadChanged]) -> None:
    workload = server(["serve", "/ready"])
    cluster.apply(workload)
    reached(cluster, "server", "ready")
    until(lambda: len(said) == 2)
    cluster.stop("server")
    assert reached(cluster, "server", "failed").reason == "Stopped"
    cluster.stop("server")
    cluster.apply(workload)
    assert reached(cluster, "server", "failed").attempt == 1
    assert len(said) == 2


def test_what_never_was(cluster: Cluster) -> None:
    cluster.stop("absent")
    assert cluster.status("absent") is None
    with pytest.raises(FileNotFoundError):
        cluster.logs("absent")


def test_names_that_are_no_names(cluster: Cluster) -> None:
    for name in ("../../etc", "", ".lock", "a/b", "-a"):
        for call in (cluster.stop, cluster.status, cluster.logs):
            with pytest.raises(Reject, match="DNS label"):
                call(name)


def test_the_list_is_in_order(cluster: Cluster) -> None:
    for name in ("b", "a", "c"):
        cluster.apply(job(name=name))
    assert [status.name for status in cluster.list()] == ["a", "b", "c"]
    for name in ("a", "b", "c"):
        reached(cluster, name, "succeeded")


def test_a_document_comes_whole(cluster: Cluster, shared_folder: Path) -> None:
    document = {"steps": [], "text": "zażółć\n\"'", "number": 1.5, "nested": {"list": [None, True]}}
    cluster.apply(
        replace(job(), document=document | {"steps": [["copy_document", str(shared_folder / "copy")]]})
    )
    reached(cluster, "job", "succeeded")
    copied = msgspec.json.decode((shared_folder / "copy").read_bytes())
    assert {name: value for name, value in copied.items() if name != "steps"} == {
        name: value for name, value in document.items() if name != "steps"
    }
