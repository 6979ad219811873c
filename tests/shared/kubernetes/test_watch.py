"""What keeps the watch going: gaps, failures, late words; and the agenda."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from shared.errors import Retry
from shared.kubernetes.api import Absent, Gone, RestApi
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.faults import PlannedFaults
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.kinds import JOB_SET, KINDS, POD, Kind
from shared.kubernetes.settings import KubernetesSettings
from shared.kubernetes.watch import Agenda, Watch, pause_after
from shared.kubernetes.watch import Heard as Listened
from shared.local.clock import SystemClock

PATIENCE = 20.0


def until(question: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class TestAgenda:
    def test_the_earliest_first_and_each_once(self):
        agenda = Agenda()
        agenda.add("late", 0.02)
        agenda.add("soon")
        agenda.add("soon", 5)
        assert [agenda.take(1), agenda.take(1), agenda.take(0)] == ["soon", "late", None]

    def test_an_earlier_time_counts(self):
        agenda = Agenda()
        agenda.add("it", 600)
        agenda.add("it")
        assert agenda.take(1) == "it"
        assert agenda.take(0.01) is None

    def test_who_waits_is_woken(self):
        agenda = Agenda()
        taken: list[str | None] = []

        def take() -> None:
            while not taken or taken[-1]:
                taken.append(agenda.take(PATIENCE))

        thread = threading.Thread(target=take)
        thread.start()
        agenda.add("it")
        until(lambda: taken)
        agenda.close()
        thread.join()
        assert taken == ["it", None]


class Heard:
    """A watch over pods in memory; `tended` counts looks."""

    def __init__(self, kinds: Sequence[Kind] = KINDS) -> None:
        self.fake = FakeCluster(SystemClock().now, kinds=kinds)
        self.faults = self.fake.server.faults = PlannedFaults()
        self.fake.namespace("kuznia")
        self.tended: dict[str, int] = {}
        self.fails = self.expired = 0
        self.open: list[str] = []
        settings = KubernetesSettings(watch_seconds=1)
        self.watch = Watch(
            RestApi(MemoryTransport(self.fake, wait=0.05)),
            settings,
            self.tend,
            lambda: self.open,
            self.expire,
        )

    def expire(self) -> int:
        self.expired += 1
        raise Retry("not now")

    def tend(self, name: str) -> float | None:
        self.tended[name] = self.tended.get(name, 0) + 1
        if self.fails:
            self.fails -= 1
            raise Retry("not now")
        return None

    def jobset(self, name: str) -> None:
        metadata = {"name": name, "namespace": "default", "labels": {"kuznia.dev/workload": name}}
        body = {"apiVersion": JOB_SET.api_version, "kind": "JobSet", "metadata": metadata}
        RestApi(MemoryTransport(self.fake)).create({**body, "spec": {"replicatedJobs": []}})

    def pod(self, name: str) -> None:
        metadata = {"name": name, "namespace": "default", "labels": {"kuznia.dev/workload": name}}
        body = {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "i"}]}}
        RestApi(MemoryTransport(self.fake)).create({"apiVersion": "v1", "kind": "Pod", **body})


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    monkeypatch.setattr("shared.kubernetes.watch._FIRST_PAUSE", 0.05)
    made = Heard()
    yield made
    made.watch.close()


def test_what_is_open_is_looked_at_and_what_changes_too(heard: Heard):
    heard.open = ["old"]
    heard.watch.start()
    until(lambda: heard.tended.get("old"))
    heard.pod("new")
    until(lambda: heard.tended.get("new"))
    heard.watch.look_at("asked")
    until(lambda: heard.tended.get("asked"))
    assert heard.watch.running
    assert heard.expired == 1, "and it goes on where that fails"


def test_a_jobset_is_heard_where_the_cluster_knows_them(heard: Heard):
    heard.watch.start()
    heard.jobset("before")
    until(lambda: heard.tended.get("before"))
    heard.jobset("after")
    until(lambda: heard.tended.get("after"))


def test_a_cluster_need_not_know_jobsets():
    heard = Heard([kind for kind in KINDS if kind != JOB_SET])
    heard.watch.start()
    heard.pod("it")
    until(lambda: heard.tended.get("it"))
    assert heard.watch.running
    heard.watch.close()


def test_how_long_to_be_deaf():
    must, may = Listened(kind=POD), Listened(kind=JOB_SET, optional=True)
    assert [pause_after(must, Retry("away"), before) for before in (0.25, 0.5, 20)] == [0.5, 1, 30]
    assert pause_after(must, Gone("410"), 20) == 0.5, "a gap is no failure"
    assert pause_after(must, Absent("404"), 0.25) == 0.5
    assert pause_after(may, Absent("404"), 0.25) == 300


def test_what_failed_is_tried_again(heard: Heard):
    heard.fails = 2
    heard.open = ["it"]
    heard.watch.start()
    until(lambda: heard.tended.get("it") == 3)


@pytest.mark.parametrize("fault", ["gone", "dropped", "429", "500", "refused"])
def test_a_gap_is_closed_by_a_list(heard: Heard, fault: Any):
    for verb in ("watch", "list"):
        if (fault, verb) != ("dropped", "list"):
            heard.faults.plan(fault, verb, "pods")
    heard.watch.start()
    until(lambda: not heard.faults.left)
    heard.pod("it")
    until(lambda: heard.tended.get("it"))


def test_nothing_is_lost_where_the_log_is_compacted_all_the_time(heard: Heard):
    heard.watch.start()
    for number in range(20):
        heard.pod(f"p-{number}")
        heard.fake.compact()
    until(lambda: len(heard.tended) == 20)
