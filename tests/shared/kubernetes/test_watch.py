"""What keeps the watch going: gaps, failures, late words; and the agenda."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from shared.errors import Retry
from shared.kubernetes.api import RestApi
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.faults import PlannedFaults
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.settings import KubernetesSettings
from shared.kubernetes.watch import Agenda, Watch
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

    def __init__(self) -> None:
        self.fake = FakeCluster(SystemClock().now)
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

    def pod(self, name: str) -> None:
        metadata = {"name": name, "namespace": "default", "labels": {"kuznia.dev/workload": name}}
        body = {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "i"}]}}
        RestApi(MemoryTransport(self.fake)).create({"apiVersion": "v1", "kind": "Pod", **body})


@pytest.fixture
def heard() -> Iterator[Heard]:
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
