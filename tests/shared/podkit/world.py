"""A small world for pods: a Git repository, an artifact store, and ears for what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from events.envelope import Event
from events.parts import Artifact, ModelVersion, Origin, Source
from shared.forge import warm
from shared.forge.environment import require
from shared.local.artifacts import DirectoryArtifacts
from shared.local.assembly import open_ports
from shared.local.clock import SystemClock
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience
from shared.podkit.ports import PodPorts
from shared.ports.bus import Query
from shared.settings import Settings, from_environment
from tests.memory import MemoryStore

TINY = "kuznia/tiny-llama"
ROWS = [
    {"instruction": f"Say {word}", "input": "", "output": word}
    for word in ["one", "two", "three", "four", "five", "six"]
]
CONFIG = {
    "model_name_or_path": TINY,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 4,
    "lora_target": "all",
    "dataset": "train",
    "dataset_dir": ".",
    "template": "chatml",
    "cutoff_len": 64,
    "logging_steps": 1,
    "save_steps": 5,
    "per_device_train_batch_size": 2,
    "learning_rate": 0.01,
    "max_steps": 15,
    "seed": 42,
}
MODEL = ModelVersion(model_id="team-x.qa.v1", version="1.0.0", tenant="team-x", run_id="r-0123456789abcdef")


class PodWorld:
    """home: of one installation, which may be shared by worlds that want its warm trainer."""

    def __init__(self, root: Path, cache: Path, home: Path | None = None) -> None:
        self.root = root
        self.home = home or root / "home"
        self.settings = Settings(home=self.home, cache=cache)
        self.artifacts = DirectoryArtifacts(self.settings.artifacts)
        self.events: list[Event] = []
        self._pods: list[subprocess.Popen[bytes]] = []
        self.ports = PodPorts(
            artifacts=self.artifacts,
            publish=self.events.extend,
            settings=self.settings,
            clock=SystemClock(),
            store=MemoryStore(),
        )

    def commit(self, files: dict[str, str], experiment: str = "experiments/qa") -> Source:
        """Commit files of an experiment; where they lie."""
        repository = self.root / "repository"
        folder = repository / experiment
        folder.mkdir(parents=True, exist_ok=True)
        if not (repository / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=an experiment")
        return self.source(experiment)

    def source(self, experiment: str = "experiments/qa") -> Source:
        """Where HEAD's experiment lies."""
        return Source(
            repository="configs",
            url=str(self.root / "repository"),
            experiment=experiment,
            commit=self.git("rev-parse", "HEAD"),
            tree=self.git("rev-parse", f"HEAD:{experiment}"),
        )

    def git(self, *words: str) -> str:
        """Run git in the repository; what it prints."""
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
        done = subprocess.run(
            ["git", *identity, *words],
            cwd=self.root / "repository",
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def training_document(self, config: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The document of a training pod, with its experiment committed."""
        info = {"train": {"file_name": "train.json"}}
        files = {"config.yaml": yaml.safe_dump(config), "train.json": json.dumps(ROWS)}
        source = self.commit(files | {"dataset_info.json": json.dumps(info)})
        return {
            "run_id": MODEL.run_id,
            "model": msgspec.to_builtins(MODEL),
            "origin": msgspec.to_builtins(Origin(source=source, config=config, manifest={})),
            "cause": f"cause-{more.get('run_id', MODEL.run_id)}",  # each run has one of its own, as in the real chain
            "threads": 1,
            **more,
        }

    def model_artifact(self, folder: Path) -> Artifact:
        """A whole model uploaded as if a full fine-tuning had made it."""
        files = {path.name: path for path in folder.iterdir() if path.is_file()}
        blank = Manifest(run_id=MODEL.run_id, step=1, final=True, kind="model", base_model=TINY)
        prefix = f"runs/{MODEL.run_id}/final"
        manifest, digest = manifests.upload(self.artifacts, prefix, blank, files, Patience(tries=1))
        uri = self.artifacts.uri(prefix)
        return Artifact(uri=uri, manifest_digest=digest, kind="model", base_model=TINY, size=manifest.size)

    def said(self, name: str) -> list[Event]:
        """Events of that name, oldest first."""
        return [event for event in self.events if event.name == name]

    def start(
        self, module: str, document: dict[str, Any], attempt: int = 1, **env: str
    ) -> subprocess.Popen[bytes]:
        """The pod as the cluster starts it: a process of its own, its output in `pod.log`."""
        path = self.root / "document.json"
        path.write_bytes(msgspec.json.encode(document))
        variables = {
            **os.environ,
            "KUZNIA_HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.settings.cache.parent),
            "KUZNIA_POD": str(path),
            "KUZNIA_ATTEMPT": str(attempt),
            "KUZNIA_CHILDREN": str(self.root / "children"),
            "PYTHONUNBUFFERED": "1",
            **env,
        }
        with (self.root / "pod.log").open("ab") as log:
            pod = subprocess.Popen([sys.executable, "-m", module], env=variables, stdout=log, stderr=log)
        self._pods.append(pod)
        return pod

    def close(self) -> None:
        """No pod outlives its test, however that ends."""
        for pod in self._pods:
            pod.kill()
            pod.wait()

    def log(self) -> str:
        """What the started pods printed."""
        return (self.root / "pod.log").read_text(encoding="utf-8")

    def on_the_bus(self) -> list[Event]:
        """What the started pods said, oldest first."""
        ports = open_ports(self.settings)
        try:
            return [entry.event for entry in ports.bus.log(Query(limit=10_000))]
        finally:
            ports.close()

    def children(self) -> list[int]:
        """Pids of the trainer processes that the started pods named."""
        path = self.root / "children"
        return [int(line) for line in path.read_text(encoding="ascii").split()] if path.exists() else []


def wait_for(what: str, condition: Callable[[], Any], timeout: float = 120) -> Any:
    """The condition's value once it is true. Fails, saying what was waited for, at the deadline."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    pytest.fail(f"{what}: not within {timeout} s")


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def world(tmp_path: Path, cache: Path) -> Iterator[PodWorld]:
    """A world without a warm trainer."""
    made = PodWorld(tmp_path, cache)
    yield made
    made.close()


@pytest.fixture(scope="session")
def warm_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose trainer is warm for all tests of a folder."""
    cache = from_environment().cache
    home = tmp_path_factory.mktemp("warm")
    server = warm.launch(Settings(home=home, cache=cache), require(cache))
    assert server is not None
    yield home
    server.stop()


@pytest.fixture
def warm_world(tmp_path: Path, cache: Path, warm_home: Path) -> Iterator[PodWorld]:
    """A world whose trainer is warm."""
    made = PodWorld(tmp_path, cache, warm_home)
    yield made
    made.close()


@pytest.fixture(params=["warm", "cold"])
def either_world(
    tmp_path: Path, cache: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[str, PodWorld]]:
    """Both kinds, one after the other; which one, and the world."""
    home = request.getfixturevalue("warm_home") if request.param == "warm" else None
    made = PodWorld(tmp_path, cache, home)
    yield request.param, made
    made.close()
