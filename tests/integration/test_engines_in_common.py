"""Versions that share an engine, on a platform that runs: event, engine, adapter, gateway, answer. vLLM is the stand-in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import hotload
from benchmarks.hotload_events import MODEL_ID
from shared.forge.models import BaseModel, resolve
from shared.local import LocalPorts, open_ports
from shared.local.cluster.process_cluster import ProcessCluster
from shared.settings import Settings
from tests.shared.podkit.world import wait_for
from tests.standin import environment, lora

pytestmark = pytest.mark.slow


class Scene:
    """A platform that is up, and versions brought to it."""

    def __init__(self, settings: Settings, ports: LocalPorts, arena: hotload.Arena, folder: Path) -> None:
        self.settings, self.ports, self.arena = settings, ports, arena
        self._folder = folder
        self._count = 0
        base = resolve(settings.models, environment.MODEL)
        assert base
        self._base: BaseModel = base

    def version(self, rank: int = 16) -> str:
        """The next one, until it answers; its name."""
        self._count += 1
        files = lora.write(self._folder / str(self._count), self._count, rank=rank)
        artifact = hotload.store(self.ports, self._base, self._count, files)
        return self.arena.next_version(artifact).version

    def known(self, version: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ports.store.load(f"releases/{MODEL_ID}").data["versions"][version]
        return found

    def engine(self) -> dict[str, Any]:
        (record,) = self.ports.store.list("engines")
        return record.data

    def port(self, version: str) -> str:
        """Of who answers for it."""
        return self.arena.answer(version).rpartition(" ")[2]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    cache = environment.make_vllm(tmp_path / "xdg")
    environment.make(tmp_path / "xdg")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    settings = Settings(home=tmp_path / "home", cache=cache, port=0, gateway_port=0)
    with hotload.up(settings) as endpoints:
        ports = open_ports(settings)
        try:
            arena = hotload.Arena(ports, settings, endpoints)
            yield Scene(settings, ports, arena, tmp_path / "adapters")
        finally:
            ports.close()


def test_one_engine_carries_many_and_what_it_will_not_take_has_its_own(scene: Scene) -> None:
    first, second = scene.version(), scene.version()
    assert scene.known(first)["state"] == "retired"
    assert scene.known(second)["state"] == "live"
    assert scene.known(second)["address"] == scene.engine()["address"]
    large = scene.version(
        rank=64
    )  # of which its config said nothing, so it was wanted in the engine of rank 16
    assert scene.known(large)["shared"] == ""
    assert "LoRA rank 64 is greater than max_lora_rank 16" in scene.known(large)["own_because"]
    assert scene.known(large)["address"] != scene.engine()["address"]
    assert scene.known(large)["state"] == "live"
    third = scene.version()
    assert scene.port(third) == scene.engine()["address"].rpartition(":")[2]
    engines = [status.name for status in _statuses(scene) if status.name.startswith("engine-")]
    assert len(engines) == 1, "one server for all of them"


def test_killed_it_comes_back_with_all_that_it_carried(scene: Scene) -> None:
    version = scene.version()
    before = scene.arena.answer(version)
    (child,) = _children(scene)
    os.kill(child, signal.SIGKILL)
    changed = wait_for("another engine", lambda: _answer(scene, version, unlike=before), timeout=60)
    assert changed.partition(",")[0] == before.partition(",")[0], "the same weights"
    assert scene.engine()["generation"] == 1, "the same server, started again"
    assert scene.known(version)["shared"]


def _answer(scene: Scene, version: str, unlike: str) -> str:
    try:
        answer = scene.arena.answer(version)
    except hotload.Reject:
        return ""
    return answer if answer != unlike else ""


def _statuses(scene: Scene) -> list[Any]:
    cluster = ProcessCluster(scene.settings.cluster, lambda _events: None, {}, scene.ports.clock)
    return list(cluster.list())


def _children(scene: Scene) -> list[int]:
    server = scene.engine()["server"]
    lists = (scene.settings.cluster / server).rglob("children")
    return [int(line) for path in lists for line in path.read_text(encoding="ascii").split()]
