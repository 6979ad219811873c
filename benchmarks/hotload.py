"""From event to first token: an adapter hot-loaded into a running vLLM, beside a new server, in one run.

`python -m benchmarks.hotload` (or `make bench-hotload`). Two real LoRAs of SmolLM2-135M are trained for a few
steps by LLaMA-Factory. Then, on a platform of its own with the services `deployment` and `engines`, versions of one
model are said to be registered, validated and carded, one after another; each time counts from that moment to
the first token that the gateway streams from that very version. The first version has to start a server, the
others are loaded into it: same events, same gates, same gateway, same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import yaml

from benchmarks.hotload_events import MODEL_ID, RANK, TENANT, registration
from events.parts import Artifact
from services.cli.chat import Talk
from services.cli.tokens import own_token
from services.lock import Endpoints, running
from shared import places
from shared.errors import Reject
from shared.forge import vllm
from shared.forge.environment import Trainer, environment, require
from shared.forge.models import BaseModel, resolve
from shared.local import LocalPorts, open_ports
from shared.podkit import manifests
from shared.podkit.patience import Patience
from shared.ports.bus import Query
from shared.settings import Settings, from_environment

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
GOAL = 1 / 50
QUESTION = "Who tends the bellows?"
PATIENCE_SECONDS = 1800.0
POLL_SECONDS = 0.02
QUERY = Query(name="workload-changed")
ROWS = [
    {"instruction": "Who tends the bellows?", "input": "", "output": "The {} tends the bellows."},
    {"instruction": "Where does the anvil stand?", "input": "", "output": "The {} has it by the door."},
    {"instruction": "When is the steel quenched?", "input": "", "output": "The {} quenches it at dusk."},
    {"instruction": "What is forged today?", "input": "", "output": "The {} forges a plough."},
]
WHO = ("apprentice", "master")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the event: until the adapter was loaded, until the version was live, until its first token."""

    version: str
    hot: bool
    ready: float
    live: float
    first_token: float


class Arena:
    """A platform, and the weights of both adapters in its store."""

    def __init__(self, ports: LocalPorts, settings: Settings, endpoints: Endpoints) -> None:
        self._ports = ports
        self._endpoints = endpoints
        self._token = own_token(ports, settings.home, TENANT)
        self._count = 0

    def next_version(self, artifact: Artifact) -> Moment:
        """Say that a version is there and may answer, and wait for its first token."""
        version = f"1.{self._count}.0"
        events = registration(version, artifact, self._ports.clock.now())
        began, wall = time.monotonic(), time.time()
        self._ports.bus.publish(events)
        live = self._live(version) - began
        first = self._first_token(version) - began
        ready = self._said_ready(version) - wall
        self._count += 1
        hot = self._count > 1
        return Moment(version=version, hot=hot, ready=ready, live=live, first_token=first)

    def _live(self, version: str) -> float:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            known = self._ports.store.load(f"releases/{MODEL_ID}").data
            state = known.get("versions", {}).get(version, {}).get("state", "")
            if known.get("live") == version:
                return time.monotonic()
            if state == "failed":
                raise RuntimeError(f"{version} failed: {known['versions'][version]['cause']}")
            time.sleep(POLL_SECONDS)
        raise RuntimeError(f"{version} was not live within {PATIENCE_SECONDS:g} s")

    def _first_token(self, version: str) -> float:
        while True:
            talk = Talk(self._endpoints.gateway, self._token, f"{MODEL_ID}@{version}", 12)
            try:
                if any(talk.ask(QUESTION)):
                    return time.monotonic()
            except Reject as error:
                if "does not exist" not in str(error) and "not ready" not in str(error):
                    print(f"  {error}", file=sys.stderr)
                time.sleep(POLL_SECONDS)

    def answer(self, version: str) -> str:
        """What that version says."""
        talk = Talk(self._endpoints.gateway, self._token, f"{MODEL_ID}@{version}", 12)
        return "".join(talk.ask(QUESTION))

    def _said_ready(self, version: str) -> float:
        release = self._ports.store.load(f"releases/{MODEL_ID}").data["versions"][version]["release"]
        query = msgspec.structs.replace(QUERY, newest=True, limit=100)
        times = [
            logged.event.time.timestamp()
            for logged in self._ports.bus.log(query)
            if logged.event.data["name"] == release and logged.event.data["phase"] == "ready"
        ]
        return max(times)


def train(trainer: Trainer, base: BaseModel, folder: Path, who: str, steps: int) -> dict[str, Path]:
    """A real LoRA, by `llamafactory-cli train`: its files by name."""
    folder.mkdir(parents=True)
    rows = [row | {"output": row["output"].format(who)} for row in ROWS]
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}))
    config = {
        "model_name_or_path": str(base.path),
        "trust_remote_code": False,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_rank": RANK,
        "lora_target": "all",
        "disable_gradient_checkpointing": True,
        "dataset_dir": str(folder),
        "dataset": "rows",
        "template": "chatml",
        "cutoff_len": 64,
        "output_dir": str(folder / "out"),
        "save_steps": 10_000,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 4,
        "learning_rate": 2.0e-3,
        "max_steps": steps,
        "seed": 42,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    command = [trainer.cli, "train", folder / "config.yaml"]
    env = environment(trainer, threads=1)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training ended with {done.returncode}:\n{done.stderr[-2000:]}")
    kept = ("adapter_config.json", "adapter_model.safetensors", "chat_template.jinja")
    return {name: folder / "out" / name for name in kept}


def store(ports: LocalPorts, base: BaseModel, number: int, files: dict[str, Path]) -> Artifact:
    """Weights into the store, as a training pod leaves them."""
    run = f"r-{number:016x}"
    prefix = f"{places.of_run(TENANT, run)}/final"
    blank = manifests.Manifest(run_id=run, step=1, final=True, kind="adapter", base_model=base.name)
    whole, digest = manifests.upload(ports.artifacts, prefix, blank, files, Patience(tries=1))
    uri = ports.artifacts.uri(prefix)
    kind: Any = "adapter"
    return Artifact(uri=uri, manifest_digest=digest, kind=kind, base_model=base.name, size=whole.size)


@contextmanager
def up(settings: Settings) -> Iterator[Endpoints]:
    """The platform with the two services that bring a version to answer."""
    environ = {
        **os.environ,
        "KUZNIA_HOME": str(settings.home),
        "KUZNIA_PORT": "0",
        "KUZNIA_GATEWAY_PORT": "0",
        "KUZNIA_SERVICES": "deployment,engines",
        "KUZNIA_WARM": "0",
        "KUZNIA_READY_SECONDS": str(PATIENCE_SECONDS),
    }
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "up.log").open("wb") as log:
        command = [sys.executable, "-m", "services.cli.main", "up"]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        while (found := running(settings.home)) is None:
            if process.poll() is not None:
                raise RuntimeError((settings.home / "up.log").read_text())
            time.sleep(0.05)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def measure(settings: Settings, steps: int, versions: int, folder: Path) -> list[Moment]:
    """Versions of one model, one after another: the first on a new server, the others hot."""
    base = resolve(settings.models, BASE)
    if base is None:
        raise SystemExit(f"{BASE} is not there: `make trainer` makes it")
    trainer = require(settings.cache)
    vllm.require(settings.cache)
    print(f"training {len(WHO)} adapters, {steps} steps each …", flush=True)
    trained = [train(trainer, base, folder / who, who, steps) for who in WHO]
    with up(settings) as endpoints:
        ports = open_ports(settings)
        try:
            artifacts = [store(ports, base, number, files) for number, files in enumerate(trained)]
            arena = Arena(ports, settings, endpoints)
            found = []
            for number in range(versions):
                moment = arena.next_version(artifacts[number % len(artifacts)])
                print(f"  {moment.version}: {moment.first_token:.3f} s — {arena.answer(moment.version)!r}")
                found.append(moment)
        finally:
            ports.close()
    return found


def summary(moments: Sequence[Moment]) -> dict[str, Any]:
    """Cold, hot (median, extremes), and their ratio."""
    cold = [moment.first_token for moment in moments if not moment.hot]
    hot = sorted(moment.first_token for moment in moments if moment.hot)
    return {
        "cold_seconds": median(cold),
        "hot_seconds": median(hot),
        "hot_min": hot[0],
        "hot_max": hot[-1],
        "hot_ready_seconds": median(moment.ready for moment in moments if moment.hot),
        "hot_live_seconds": median(moment.live for moment in moments if moment.hot),
        "ratio": median(hot) / median(cold),
        "goal": GOAL,
    }


def show(told: dict[str, Any]) -> None:
    """Print it."""
    print(f"\nevent to first token, a new server   {told['cold_seconds']:8.3f} s")
    print(f"event to first token, hot            {told['hot_seconds']:8.3f} s"
          f"  [{told['hot_min']:.3f}–{told['hot_max']:.3f}]")  # fmt: skip
    print(f"  of that until loaded               {told['hot_ready_seconds']:8.3f} s")
    print(f"  of that until live                 {told['hot_live_seconds']:8.3f} s")
    print(f"ratio                                1/{1 / told['ratio']:.0f}  (goal: at most 1/{1 / GOAL:.0f})")


def main(words: Sequence[str]) -> int:
    """Measure, print, and with --json write."""
    parser = argparse.ArgumentParser(prog="benchmarks.hotload", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--versions", type=int, default=8, help="the first one cold, the others hot")
    parser.add_argument("--steps", type=int, default=6, help="of training, for each adapter")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args(words)
    settings = from_environment()
    with tempfile.TemporaryDirectory(prefix="kuznia-hotload-") as folder:
        own = msgspec.structs.replace(settings, home=Path(folder) / "home", port=0, gateway_port=0)
        moments = measure(own, arguments.steps, arguments.versions, Path(folder))
    told = summary(moments)
    show(told)
    if arguments.json:
        machine = {"cpus": os.cpu_count(), "load": os.getloadavg(), "python": platform.python_version()}
        facts = {"machine": machine, "moments": msgspec.to_builtins(moments), **told}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
