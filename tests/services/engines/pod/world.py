"""An installation with one engine: its record, adapters in the store, and its pod as a process."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from events.envelope import Event
from events.parts import Artifact
from shared.engine_key import engine_key
from shared.local.assembly import open_ports
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience
from shared.ports.bus import Query
from shared.record import Record
from shared.settings import Settings
from tests.shared.podkit.world import PodWorld

ENGINE, SERVER = "engine-team-x-0123", "engine-team-x-0123-1"
KEY = f"engines/{ENGINE}"
MODEL_ID = "team-x.qa.v1"
MODULE = "services.engines.pod"


def release(version: str) -> str:
    return f"serve-team-x-qa-v1-{version.replace('.', '-')}-1"


class EngineWorld:
    """pods: what starts processes and ends them with the test."""

    def __init__(self, pods: PodWorld, base_model: str) -> None:
        self.pods = pods
        self.settings: Settings = pods.settings
        self.base_model = base_model
        self.local = open_ports(self.settings)
        self.adapters: dict[str, Any] = {}
        self.key = engine_key(self.settings.home, ENGINE)
        self.order()

    def close(self) -> None:
        self.local.close()

    def store(self, version: str, files: dict[str, Path]) -> Artifact:
        """Weights of a version, as training leaves them."""
        blank = Manifest(run_id="r-1", step=1, final=True, kind="adapter", base_model=self.base_model)
        prefix = f"runs/r-{version}/final"
        manifest, digest = manifests.upload(self.local.artifacts, prefix, blank, files, Patience(tries=1))
        uri = self.local.artifacts.uri(prefix)
        base = self.base_model
        return Artifact(uri=uri, manifest_digest=digest, kind="adapter", base_model=base, size=manifest.size)

    def want(self, version: str, artifact: Artifact) -> None:
        """Into the record, as the service writes it."""
        self.adapters[release(version)] = {
            "release": release(version),
            "model_id": MODEL_ID,
            "version": version,
            "engine_model": f"{MODEL_ID}@{version}",
            "artifact": msgspec.to_builtins(artifact),
            "cause": f"wanted-{version}",
        }
        self.order()

    def drop(self, version: str) -> None:
        del self.adapters[release(version)]
        self.order()

    def order(self, server: str = SERVER) -> None:
        known = self.local.store.load(KEY)
        data = {"server": server, "adapters": self.adapters}
        record = Record(key=KEY, revision=known.revision, status="ACTIVE", data=data)
        self.local.store.commit(record)

    def start(self, attempt: int = 1, **more: Any) -> tuple[subprocess.Popen[bytes], str]:
        """The pod, and where it is to answer."""
        document = {
            "release": SERVER,
            "key": KEY,
            "base_model": self.base_model,
            "template": "chatml",
            "cause": "cause-1",
            "threads": 1,
            **more,
        }
        address = self.free_address()
        return self.pods.start(MODULE, document, attempt, KUZNIA_ADDRESS=address), address

    @staticmethod
    def free_address() -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{probe.getsockname()[1]}"

    def said(self) -> list[Event]:
        """What the pod said, oldest first."""
        return [logged.event for logged in self.local.bus.log(Query(name="workload-changed"))]

    def phases(self) -> list[tuple[str, str, int]]:
        """Release, phase and attempt of all that."""
        return [(e.data["name"], e.data["phase"], e.data["attempt"]) for e in self.said()]

    def ask(self, address: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {"content-type": "application/json"}
        if shown := self.key if key is None else key:
            headers["authorization"] = f"Bearer {shown}"
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://{address}{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def models(self, address: str) -> set[str]:
        """What the engine says that it has; nothing where it does not answer."""
        try:
            status, said = self.ask(address, "/v1/models")
        except OSError:
            return set()
        return {model["id"] for model in said["data"]} if status == 200 else set()

    def answer(self, address: str, version: str) -> str:
        """To one question, greedily."""
        question = {
            "model": f"{MODEL_ID}@{version}",
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "max_tokens": 8,
        }
        status, said = self.ask(address, "/v1/chat/completions", question)
        assert status == 200, said
        return str(said["choices"][0]["message"]["content"])
