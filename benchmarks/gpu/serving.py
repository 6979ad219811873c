"""One base model behind the serving pod, as the cluster starts it, and behind bare `vllm serve`."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.gpu.load import Load, Server, tokens_a_second
from events.parts import Artifact
from services.deployment.pod.document import Document
from shared.engine_key import engine_key
from shared.forge import vllm
from shared.forge.models import BaseModel
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience
from shared.settings import Settings

MODEL = "team-x.speed.v1@1.0.0"
READY_SECONDS = 900.0
STOP_SECONDS = 60.0


class NotReady(RuntimeError):
    """The engine ended, or did not answer in time; where its output lies."""


def upload(settings: Settings, base: BaseModel) -> Artifact:
    """The base model as if a full fine-tuning had made it."""
    store = DirectoryArtifacts(settings.artifacts)
    files = {path.name: path for path in base.path.iterdir() if path.is_file()}
    blank = Manifest(run_id="r-speed", step=1, final=True, kind="model", base_model=base.name)
    manifest, digest = manifests.upload(store, "runs/r-speed/final", blank, files, Patience())
    uri = store.uri("runs/r-speed/final")
    return Artifact(uri=uri, manifest_digest=digest, kind="model", base_model=base.name, size=manifest.size)


def through_the_pod(settings: Settings, artifact: Artifact, load: Load, passes: int) -> list[float]:
    """Tokens a second of each pass. Raises NotReady, ServerError."""
    release, address = "serve-speed", free_address()
    document = Document(
        release=release,
        model=MODEL,
        artifact=artifact,
        base_model=artifact.base_model,
        template="chatml",
        cause="speed",
        engine="vllm",
        max_concurrent=max(load.at_once, 4),
    )
    path = settings.home / "serve.json"
    path.write_bytes(msgspec.json.encode(document))
    env = {
        **os.environ,
        "KUZNIA_HOME": str(settings.home),
        "XDG_CACHE_HOME": str(settings.cache.parent),
        "KUZNIA_POD": str(path),
        "KUZNIA_ADDRESS": address,
    }
    server = Server(address=address, model=MODEL, key=engine_key(settings.home, release))
    words = [sys.executable, "-m", "services.deployment.pod"]
    with running(words, env, settings.home / "serve-pod.log", address):
        return measured(lambda: tokens_a_second(server, load), passes)


def bare(settings: Settings, base: BaseModel, load: Load, passes: int, *, cpu: bool) -> list[float]:
    """The same behind `vllm serve`, from the same environment. cpu: as in `needs`."""
    found, address = vllm.require(settings.cache), free_address()
    host, port = address.split(":")
    words = [str(found.home / "bin" / "vllm"), "serve", str(base.path), "--served-model-name", MODEL]
    words += ["--host", host, "--port", port]
    words += ["--dtype", "float32", "--enforce-eager"] if cpu else []
    with running(words, vllm.variables(found), settings.home / "serve-bare.log", address):
        return measured(lambda: tokens_a_second(Server(address=address, model=MODEL), load), passes)


def measured(once: Callable[[], float], passes: int) -> list[float]:
    """The first one only warms it."""
    return [once() for _ in range(passes + 1)][1:]


@contextmanager
def running(words: list[str], env: dict[str, str], log: Path, address: str) -> Iterator[None]:
    """The server, ready; ended with the block. Raises NotReady."""
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait(process, log, address)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, address: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _healthy(address):
            return
        time.sleep(0.2)
    state = "ended" if process.poll() is not None else f"was not ready within {READY_SECONDS:.0f} s"
    raise NotReady(f"the engine {state}; its last words are in {log}")


def _healthy(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def free_address() -> str:
    """On this machine alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
