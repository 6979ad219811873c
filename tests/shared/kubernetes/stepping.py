"""A platform on a fake cluster, in one thread, under a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from events.catalog import decode
from events.envelope import Event
from events.workload_changed import WorkloadChanged
from shared.errors import KuzniaError, Retry
from shared.kubernetes.api import RestApi
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.faults import PlannedFaults
from shared.kubernetes.fake.runtime import Life, ModelRuntime
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.kinds import EVENT, JOB, POD, Ref
from shared.kubernetes.making import PlainReleaser
from shared.kubernetes.settings import KubernetesSettings
from shared.ports.cluster import Limits, Status, Workload

TENANT = "acme"


class Rig:
    """`go` lets time pass; `restart` is another platform on the same cluster."""

    def __init__(self, *, backoff: float = 0, **settings: Any) -> None:
        self._now = datetime(2030, 1, 1, tzinfo=UTC)
        self.fake = FakeCluster(self.now, backoff=backoff)
        self.faults = self.fake.server.faults = PlannedFaults()
        self.fake.node("node-0", gpus="8")
        for name in ("kuznia", TENANT, f"{TENANT}-api"):
            self.fake.namespace(name)
        self.settings = KubernetesSettings(trainer_image="trainer:1", engine_image="engine:1", **settings)
        self.api = RestApi(MemoryTransport(self.fake))
        self.events: list[Event] = []
        self.deaf = False
        self.cluster = self.restart()

    def now(self) -> datetime:
        return self._now

    def restart(self) -> KubernetesCluster:
        releaser = PlainReleaser(self.api, self.settings)
        self.cluster = KubernetesCluster(self.api, self.settings, releaser, self._publish, self)
        return self.cluster

    def _publish(self, events: Sequence[Event]) -> None:
        if self.deaf:
            raise Retry("the bus is away")
        self.events += events

    def lives(self, *lives: Life) -> None:
        """Each start takes the next; after the last, containers run for ever."""
        left = list(lives)
        assert isinstance(self.fake.runtime, ModelRuntime)
        self.fake.runtime.lives = lambda _start: left.pop(0) if left else Life()

    def go(self, seconds: float = 1, *, looking: bool = True) -> None:
        """Second by second, the cluster and whoever looks after it."""
        for _ in range(int(seconds)):
            self._now += timedelta(seconds=1)
            self.fake.settle()
            if looking:
                self.look()

    def tell(self, reason: str, message: str, about: dict[str, str]) -> None:
        """An Event, as somebody else's controller would write it."""
        event = {
            "metadata": {"generateName": "told-"},
            "involvedObject": {"namespace": TENANT, **about},
            "reason": reason,
            "message": message,
            "lastTimestamp": self.fake.core.stamp(),
        }
        self.fake.core.create(EVENT, TENANT, event)

    def look(self) -> None:
        try:
            self.cluster.look()
        except KuzniaError:
            return

    def status(self, name: str = "work") -> Status:
        found = self.cluster.status(name)
        assert found
        return found

    @property
    def said(self) -> list[WorkloadChanged]:
        """As the bus keeps them: an id once."""
        return [decode(event) for event in {event.id: event for event in self.events}.values()]

    @property
    def story(self) -> list[tuple[str, int]]:
        return [(change.phase, change.attempt) for change in self.said]

    def pods(self) -> Sequence[dict[str, Any]]:
        return self.fake.core.list(POD)

    def main(self, name: str = "work") -> dict[str, Any] | None:
        return self.fake.core.find(Ref(JOB, TENANT, name))


def job(name: str = "work", document: dict[str, Any] | None = None, **limits: Any) -> Workload:
    return Workload(
        name=name,
        service="training",
        key="runs/r-1",
        kind="job",
        module="services.training.pod",
        document={"x": 1} if document is None else document,
        limits=Limits(**limits),
        labels={"tenant": TENANT},
    )


def server(name: str = "web", **limits: Any) -> Workload:
    return Workload(
        name=name,
        service="deployment",
        key="releases/m",
        kind="server",
        module="services.deployment.pod",
        document={"x": 1},
        limits=Limits(**limits),
        ready_path="/ready",
        labels={"tenant": TENANT},
    )
