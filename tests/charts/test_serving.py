"""The very command and environment that the chart renders, run here on a tiny model: it loads, and answers.

What the pod's mounts would be are folders of the test: their paths are put in the place of the chart's, and nothing
else is changed.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.parts import Artifact
from services.deployment.pod import follow
from services.deployment.pod.current import Current
from services.deployment.pod.fetch import Follow, Registry, read
from services.deployment.pod.fetch import main as fetch
from shared.forge.environment import Trainer
from shared.forge.vllm import Vllm
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience
from tests.charts.llama_factory_api import LLAMAFACTORY, MODEL, NO_GPU, engine, pod
from tests.charts.rendering import Chart, merged
from tests.shared.podkit.world import PodWorld, wait_for
from tests.standin import lora

KEY = "the-key-of-this-test"
MOUNTS = re.compile(r"(?<![\w./-])(?:/etc/kuznia|/models|/mnt|/tmp)(?![\w.-])")
SMALL = {"vllm": {"maxModelLen": 64, "cpuKvCacheGiB": 1, "cpuThreads": 1}, "apiKey": {"secretName": "qa"}}


class Machine:
    """Stands for the node: its folders are the pod's mounts, a free port is the pod's 8000."""

    def __init__(self, root: Path, chart: Chart, values: Mapping[str, Any]) -> None:
        self.root, self.port = root, free_port()
        self.deployment = chart.one(values, "Deployment")
        self.config = chart.one(values, "ConfigMap")["data"]
        (self.asker,) = [document for document in chart.documents(values) if document["kind"] == "Pod"]
        self.moved = {
            "/etc/kuznia": root / "etc",
            **{f"/{name}": root / name for name in ("models", "mnt", "tmp")},
        }
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
    def served(self, path: Path, image: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """The engine's container, until the block ends. path: where its program is. image: the image's variables."""
        container = engine(self.deployment)
        words = [self.here(word) for word in (*container["command"], *container["args"])]
        base = {"PATH": os.pathsep.join([str(path), os.environ.get("PATH", os.defpath)])}
        env = base | dict(image) | self.environment(container)
        words[0] = str(path / words[0])
        with (self.root / "engine.log").open("wb") as log:
            process = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            end(process)

    def is_ready(self) -> bool:
        """What the kubelet would ask at the start; nobody is started to ask before somebody listens."""
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        container = engine(self.deployment)
        command = [self.here(word) for word in container["startupProbe"]["exec"]["command"]]
        done = subprocess.run(
            [sys.executable, *command[1:]], env=self.environment(container), capture_output=True, check=False
        )
        return done.returncode == 0

    def ask(self, key: str = KEY) -> subprocess.CompletedProcess[str]:
        """What `helm test` runs."""
        (container,) = self.asker["spec"]["containers"]
        env = self.environment(container) | {"ENGINE_URL": f"http://127.0.0.1:{self.port}", "ENGINE_KEY": key}
        words = [sys.executable, "-c", *container["args"]]
        return subprocess.run(words, env=env, capture_output=True, text=True, check=False)

    def log(self) -> str:
        """What the engine printed last."""
        return (self.root / "engine.log").read_text(errors="replace")[-4000:]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """Told to, and then made to: the engine's own children as well, which are all in its group."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def machine_of(world: PodWorld, chart: Chart, above: Mapping[str, Any], stored: Artifact) -> Machine:
    """A machine on which the weights were fetched, as the init container does it; the world's store is the bucket."""
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


def answers(machine: Machine, process: subprocess.Popen[bytes]) -> str:
    """It comes up, names its model, answers a request (what `helm test` prints), and nobody without the key."""
    wait_for("the engine", lambda: process.poll() is not None or machine.is_ready(), 500)
    assert process.poll() is None, machine.log()
    asked = machine.ask()
    assert asked.returncode == 0, asked.stderr + machine.log()
    assert "team-x/llm-qa-v1 answers: " in asked.stdout
    assert "401" in machine.ask(key="wrong").stderr
    return asked.stdout


@pytest.mark.slow
@pytest.mark.trainer
def test_llamafactory_answers(world: PodWorld, chart: Chart, trainer: Trainer, tiny_model: Path):
    machine = machine_of(world, chart, LLAMAFACTORY, world.model_artifact(tiny_model))
    image = {"XDG_CACHE_HOME": str(trainer.home.parents[1]), "OMP_NUM_THREADS": "1"}
    with machine.served(Path(sys.executable).parent, image) as process:
        answers(machine, process)


def adapter(world: PodWorld, name: str, strength: float) -> Artifact:
    """A LoRA for SmolLM2 in the world's store."""
    files = lora.write(world.root / name, 1, strength=strength)
    blank = Manifest(run_id="r-1", step=1, final=True, kind="adapter", base_model=lora.BASE)
    _, digest = manifests.upload(world.artifacts, f"runs/{name}", blank, files, Patience(tries=1))
    uri = world.artifacts.uri(f"runs/{name}")
    return Artifact(uri=uri, manifest_digest=digest, kind="adapter", base_model=lora.BASE)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_vllm_answers_and_takes_the_next_adapter(
    world: PodWorld, chart: Chart, vllm_engine: Vllm, smollm: Path, monkeypatch: pytest.MonkeyPatch
):
    base = {"id": lora.BASE, "artifactPath": "pvc://bases"}
    own = {"model": {"kind": "adapter", "base": base}, "vllm": {"hotLoad": True, "chatTemplate": ""}}
    machine = machine_of(world, chart, merged(MODEL, own), adapter(world, "first", 0))
    (machine.root / "mnt" / "base").symlink_to(smollm)
    with machine.served(vllm_engine.home / "bin", {}) as process:
        before = answers(machine, process)
        second = adapter(world, "second", 0.5)
        found = Current(version="1.1.0", url=second.uri, manifest_digest=second.manifest_digest)
        monkeypatch.setattr(follow, "ask_registry", lambda *_: found)
        asked = read({"KUZNIA_FETCH": str(machine.root / "etc" / "fetch.json")})
        beside = Follow(engine=f"http://127.0.0.1:{machine.port}", name="team-x/llm-qa-v1")
        registry = Registry(url="http://registry.example.com", model_id="team-x.llm-qa.v1")
        told = msgspec.structs.replace(asked, follow=beside, registry=registry)
        follow.Follower(told, KEY, Patience(tries=1)).look()
        assert machine.ask().stdout != before, "the next adapter answers, in the same process"
        assert process.poll() is None
