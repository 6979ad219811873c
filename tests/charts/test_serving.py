"""The very command and environment that the chart renders, run here on a tiny model: it loads, and answers.

What the pod's mounts would be are folders of the test: their paths are put in the place of the chart's, and nothing
else is changed.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.deployment.pod.fetch import main as fetch
from shared.forge.environment import Trainer
from shared.forge.vllm import Vllm
from tests.charts.llama_factory_api import LLAMAFACTORY, MODEL, NO_GPU, engine, pod
from tests.charts.rendering import Chart, merged
from tests.shared.podkit.world import PodWorld, wait_for

KEY = "the-key-of-this-test"
MOUNTS = re.compile(r"(?<![\w./-])(?:/etc/kuznia|/models|/tmp)(?![\w.-])")
SMALL = {"vllm": {"maxModelLen": 64, "cpuKvCacheGiB": 1, "cpuThreads": 1}, "apiKey": {"secretName": "qa"}}


class Machine:
    """Stands for the node: its folders are the pod's mounts, a free port is the pod's 8000."""

    def __init__(self, root: Path, chart: Chart, values: Mapping[str, Any]) -> None:
        self.root, self.port = root, free_port()
        self.deployment = chart.one(values, "Deployment")
        self.config = chart.one(values, "ConfigMap")["data"]
        (self.asker,) = [document for document in chart.documents(values) if document["kind"] == "Pod"]
        self.moved = {"/etc/kuznia": root / "etc", "/models": root / "models", "/tmp": root / "tmp"}
        for folder in self.moved.values():
            folder.mkdir()

    def here(self, text: str) -> str:
        """A word of the pod's with this machine's paths."""
        text = MOUNTS.sub(lambda found: str(self.moved[found[0]]), text)
        return text.replace("0.0.0.0", "127.0.0.1").replace("8000", str(self.port))

    def mount(self) -> None:
        """The files of the ConfigMap, where the containers see them."""
        spec = pod(self.deployment)
        for container in (*spec["initContainers"], *spec["containers"]):
            for mount in container["volumeMounts"]:
                if mount["name"] == "config":
                    path = Path(self.here(mount["mountPath"]))
                    path.parent.mkdir(exist_ok=True)
                    path.write_text(self.here(self.config[mount["subPath"]]))

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """All variables; what comes from a Secret is the key."""
        return {one["name"]: self.here(one.get("value", KEY)) for one in container["env"]}

    def fetch(self) -> int:
        """What the init container does; its exit code."""
        (container,) = pod(self.deployment)["initContainers"]
        return fetch(self.environment(container))

    @contextmanager
    def served(self, path: Path, extra: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """The engine's container, until the block ends. path: where its program is."""
        container = engine(self.deployment)
        words = [self.here(word) for word in (*container["command"], *container["args"])]
        base = {"PATH": os.pathsep.join([str(path), os.environ.get("PATH", os.defpath)])}
        env = base | dict(extra) | self.environment(container)
        if "PYTHONPATH" in extra and "PYTHONPATH" in self.environment(container):
            env["PYTHONPATH"] += os.pathsep + extra["PYTHONPATH"]
        with (self.root / "engine.log").open("wb") as log:
            process = subprocess.Popen([str(path / words[0]), *words[1:]], env=env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def is_ready(self) -> bool:
        """What the kubelet would ask at the start."""
        container = engine(self.deployment)
        command = [self.here(word) for word in container["startupProbe"]["exec"]["command"]]
        done = subprocess.run(
            [sys.executable, *command[1:]], env=self.environment(container), capture_output=True, check=False
        )
        return done.returncode == 0

    def ask(self) -> subprocess.CompletedProcess[str]:
        """What `helm test` runs."""
        (container,) = self.asker["spec"]["containers"]
        env = self.environment(container) | {"ENGINE_URL": f"http://127.0.0.1:{self.port}"}
        words = [sys.executable, "-c", *container["args"]]
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    def log(self) -> str:
        """What the engine printed last."""
        return (self.root / "engine.log").read_text(errors="replace")[-4000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine_of(world: PodWorld, chart: Chart, above: Mapping[str, Any], folder: Path) -> Machine:
    """A machine on which the model was fetched, as the init container does it; the world's store is the bucket."""
    stored = world.model_artifact(folder)
    values = merged(
        merged(merged(above, SMALL), NO_GPU), {"model": {"manifestDigest": stored.manifest_digest}}
    )
    root = world.root / "node"
    root.mkdir()
    machine = Machine(root, chart, values)
    machine.mount()
    told = root / "etc" / "fetch.json"
    told.write_text(told.read_text().replace(values["model"]["artifactPath"], stored.uri))
    assert machine.fetch() == 0
    return machine


def answers(machine: Machine, process: subprocess.Popen[bytes]) -> None:
    """It comes up, names its model, answers a request, and nobody without the key."""
    wait_for("the engine", lambda: process.poll() is not None or machine.is_ready(), 300)
    assert process.poll() is None, machine.log()
    asked = machine.ask()
    assert asked.returncode == 0, asked.stderr + machine.log()
    assert "team-x/llm-qa-v1 answers: " in asked.stdout
    wrong = machine.asker["spec"]["containers"][0]["env"]
    wrong[:] = [one for one in wrong if one["name"] != "ENGINE_KEY"]
    assert "401" in machine.ask().stderr


@pytest.mark.slow
@pytest.mark.trainer
def test_llamafactory_answers(world: PodWorld, chart: Chart, trainer: Trainer, tiny_model: Path):
    machine = machine_of(world, chart, LLAMAFACTORY, tiny_model)
    extra = {"PYTHONPATH": str(trainer.stubs)} if trainer.stubs else {}
    with machine.served(trainer.home / "bin", extra | {"OMP_NUM_THREADS": "1"}) as process:
        answers(machine, process)


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_answers(world: PodWorld, chart: Chart, vllm_engine: Vllm, tiny_model: Path):
    machine = machine_of(world, chart, MODEL, tiny_model)
    with machine.served(vllm_engine.home / "bin", {}) as process:
        answers(machine, process)
