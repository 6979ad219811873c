"""What an engine asks of the cluster, and what it says where the cluster will not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.engines import SERVICE
from services.engines.pod.document import Document
from shared.errors import Reject
from shared.kubernetes.releases.values import values_of
from shared.kubernetes.settings import KubernetesSettings
from shared.local.cluster import spec
from shared.podkit import document as documents
from shared.ports.cluster import Workload
from shared.record import Do, Record
from shared.service import Ports
from shared.settings import Settings
from tests.memory import ManualClock, MemoryStore

KEY = "engines/engine-team-x-0123"
DATA = {
    "tenant": "team-x",
    "base_model": "org/base",
    "base_revision": "main",
    "template": "chatml",
    "max_rank": 16,
    "server": "engine-team-x-0123-1",
}


class Cluster:
    """Takes all, or nothing."""

    def __init__(self) -> None:
        self.applied: dict[str, Workload] = {}
        self.stopped: list[str] = []
        self.fault = ""

    def apply(self, workload: Workload) -> None:
        if self.fault:
            raise Reject(self.fault)
        assert self.applied.setdefault(workload.name, workload) == workload

    def stop(self, name: str) -> None:
        self.stopped.append(name)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def perform(cluster: Cluster, effect: str, **arguments: Any) -> Any:
    ports: Any = Ports(
        store=MemoryStore(),  # type: ignore[arg-type]
        artifacts=None,  # type: ignore[arg-type]
        cluster=cluster,  # type: ignore[arg-type]
        clock=ManualClock(datetime(2026, 11, 23, tzinfo=UTC)),
        settings=Settings(home=Path("/h"), cache=Path("/c")),
    )
    do = Do(id="do-1", effect=effect, arguments=arguments, cause="e-1", traceparent="00-trace")
    return SERVICE.effects(ports)[effect](do, Record(key=KEY, data=DATA))


def test_its_server_once_however_often_it_is_asked_for(cluster: Cluster, tmp_path: Path):
    for _ in range(2):
        assert perform(cluster, "serve", server="engine-team-x-0123-1") == []
    (workload,) = cluster.applied.values()
    assert (workload.name, workload.kind, workload.key) == ("engine-team-x-0123-1", "server", KEY)
    assert (workload.module, workload.ready_path) == ("services.engines.pod", "/health")
    assert workload.labels == {"tenant": "team-x"}
    assert spec.faults(workload) == []
    path = tmp_path / "document.json"
    path.write_bytes(msgspec.json.encode(workload.document))
    told = documents.read(Document, {"KUZNIA_POD": str(path)})
    assert (told.name, told.base_model, told.base_revision) == ("engine-team-x-0123", "org/base", "main")
    assert (told.release, told.cause, told.traceparent) == (workload.name, "e-1", "00-trace")


def test_its_answers_get_the_better_part_of_the_cluster_s_grace(cluster: Cluster):
    """Told nothing, its pod would end them after half of it."""
    perform(cluster, "serve", server="engine-1")
    (workload,) = cluster.applied.values()
    told = msgspec.convert(workload.document, Document)
    assert workload.limits.grace_seconds / 2 < told.grace_seconds < workload.limits.grace_seconds


def test_a_cluster_that_cannot_have_it_fails_it_and_so_its_adapters_go_elsewhere(cluster: Cluster):
    cluster.fault = "the chart knows no such engine"
    ((word, subject),) = [
        (speech.payload, speech.subject) for speech in perform(cluster, "serve", server="engine-1")
    ]
    assert (word.name, word.service, word.key, word.phase) == ("engine-1", "engines", KEY, "failed")
    assert (word.reason, word.message, subject) == ("Refused", "the chart knows no such engine", KEY)
    assert cluster.stopped == ["engine-1"]


def test_the_chart_knows_no_such_engine(cluster: Cluster):
    perform(cluster, "serve", server="engine-1")
    with pytest.raises(Reject, match="engine is 'vllm-with-adapters'; the chart has vllm and llamafactory"):
        values_of(cluster.applied["engine-1"], KubernetesSettings())


def test_its_end_and_its_reminder(cluster: Cluster):
    assert perform(cluster, "stop", server="engine-1") == []
    assert cluster.stopped == ["engine-1"]
    (speech,) = perform(cluster, "remind", engine="engine-team-x-0123", emptied=3)
    assert (speech.payload.engine, speech.payload.emptied, speech.subject) == ("engine-team-x-0123", 3, KEY)
