"""A server from its workload to its end, released by real helm: followed, heard, and taken away by our cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from events.catalog import decode
from events.envelope import Event
from shared.kubernetes.api import RestApi
from shared.kubernetes.cluster import KubernetesCluster
from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.http import HttpFront
from shared.kubernetes.fake.runtime import Life, ModelRuntime, Start
from shared.kubernetes.fake.transport import MemoryTransport
from shared.kubernetes.releases.helm import HelmReleaser
from shared.kubernetes.releases.program import Helm
from shared.kubernetes.releases.secret import Keys
from shared.local.clock import SystemClock
from tests.shared.kubernetes.releasing import KEY, NAME, NAMESPACE, server, settings

pytestmark = pytest.mark.slow


def lives(start: Start) -> Life:
    """The container that fetches the weights ends; the engine does not."""
    return Life() if start.container["name"] == "engine" else Life(seconds=0)


class World:
    """Stepped by hand; only helm comes over HTTP."""

    def __init__(self, helm: str) -> None:
        clock = SystemClock()
        self.said: list[Event] = []
        self.fake = FakeCluster(clock.now, ModelRuntime(clock.now, lives))
        self.fake.node("node-0", gpus="8")
        for name in ("kuznia", "team-x", NAMESPACE):
            self.fake.namespace(name)
        self.front = HttpFront(self.fake.server, self.fake.moved)
        self.front.start()
        options, api = settings(url=self.front.url), RestApi(MemoryTransport(self.fake))
        releaser = HelmReleaser(options, Keys(api, lambda _name: KEY), clock, Helm(options, helm))
        self.cluster = KubernetesCluster(api, options, releaser, self._publish, clock)

    def _publish(self, events: Sequence[Event]) -> None:
        self.said.extend(events)

    def until(self, phase: str) -> None:
        for _ in range(30):
            self.fake.settle()
            self.cluster.look()
            status = self.cluster.status(NAME)
            if status and status.phase == phase:
                return
        pytest.fail(f"never {phase}: {self.cluster.status(NAME)}")


@pytest.fixture
def world(helm: str) -> Iterator[World]:
    found = World(helm)
    yield found
    found.front.close()


def test_from_its_workload_to_its_end(world: World):
    world.cluster.apply(server())
    world.cluster.apply(server())
    world.until("ready")
    status = world.cluster.status(NAME)
    assert status is not None
    assert status.address == f"{NAME}.{NAMESPACE}.svc:8000"
    world.cluster.look()  # what is new is said by the next look
    assert decode(world.said[-1]).phase == "ready"  # type: ignore[attr-defined]

    (pod,) = world.fake.pods(NAME, NAMESPACE)
    world.fake.life(pod).output = "vLLM is up\n"
    assert "vLLM is up" in world.cluster.logs(NAME)

    world.cluster.stop(NAME)
    world.until("failed")
    assert world.fake.pods(NAME, NAMESPACE) == []
    stopped = world.cluster.status(NAME)
    assert stopped is not None
    assert stopped.reason == "Stopped"
    assert "vLLM is up" in world.cluster.logs(NAME)
