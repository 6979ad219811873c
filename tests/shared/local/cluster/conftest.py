"""A process cluster under test, and what its tests say again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.envelope import Event
from events.workload_changed import WorkloadChanged
from shared.local.clock import SystemClock
from shared.local.cluster import processes
from shared.local.cluster.process_cluster import ProcessCluster
from shared.ports.cluster import Limits, Status, Workload

PODS = Path(__file__).parent / "pods"
PATIENCE = 30.0
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PODS)}


class Rig:
    """A cluster in a folder, and all it said. `again` is another platform on the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "cluster"
        self.said: list[Event] = []
        self.fault: Exception | None = None
        self.cluster = self._make()

    def again(self) -> None:
        self.cluster = self._make()
        self.cluster.start()

    def _make(self) -> ProcessCluster:
        return ProcessCluster(self.root, self.publish, ENVIRONMENT, SystemClock())

    def publish(self, events: Sequence[Event]) -> None:
        if self.fault:
            raise self.fault
        self.said.extend(events)

    def job(self, *steps: Sequence[Any], name: str = "job", **limits: Any) -> Workload:
        return self._workload(name, "job", steps, Limits(**{"grace_seconds": 5.0, **limits}))

    def server(self, *steps: Sequence[Any], name: str = "server", **limits: Any) -> Workload:
        workload = self._workload(name, "server", steps, Limits(**{"grace_seconds": 5.0, **limits}))
        return msgspec.structs.replace(workload, ready_path="/ready")

    def _workload(self, name: str, kind: Any, steps: Sequence[Any], limits: Limits) -> Workload:
        return Workload(
            name=name,
            service="training",
            key="runs/r-1",
            kind=kind,
            module="scripted_pod",
            document={"steps": [list(step) for step in steps], "traceparent": "00-1-2-01", "cause": "e-1"},
            limits=limits,
        )

    def run(self, workload: Workload) -> None:
        """Apply and start."""
        self.cluster.apply(workload)
        self.cluster.start()

    def until(self, condition: Callable[[], Any]) -> Any:
        """What the condition gives, once it gives something."""
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, self.cluster.list()
            time.sleep(0.02)
        return found

    def reached(self, name: str, phase: str, attempt: int = 1) -> Status:
        """The status once it has come to that phase of that attempt, and this was said unless it is a stop."""

        def look() -> Status | None:
            status = self.cluster.status(name)
            assert status
            told = status.reason == "Stopped" or (name, phase, attempt) in self.story_of_all()
            return status if (status.phase, status.attempt) == (phase, attempt) and told else None

        return self.until(look)

    def story_of_all(self) -> list[tuple[str, str, int]]:
        changes = [msgspec.convert(event.data, WorkloadChanged) for event in self.said]
        return [(change.name, change.phase, change.attempt) for change in changes]

    def story(self, name: str) -> list[tuple[str, int, str]]:
        """What was said of it: phase, attempt, reason."""
        changes = [msgspec.convert(event.data, WorkloadChanged) for event in self.said]
        return [(change.phase, change.attempt, change.reason) for change in changes if change.name == name]

    def read(self, name: str) -> str:
        """A file that a pod writes, once it is there with content."""
        path = self.folder / name
        return self.until(lambda: path.exists() and path.read_text())

    def gone(self, pid: int) -> bool:
        return bool(self.until(lambda: processes.find(pid) is None))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.fault = None
    made.cluster.close(stop_workloads=False)
    made.again()
    for status in made.cluster.list():
        made.cluster.stop(status.name)
    for status in made.cluster.list():
        made.until(lambda name=status.name: made.cluster.status(name).phase in {"succeeded", "failed"})
    made.cluster.close(stop_workloads=True)
