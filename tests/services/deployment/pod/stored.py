"""Weights in a store, as training leaves them there, and who asks for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from services.deployment.pod.bring import Part
from services.deployment.pod.fetch import Asked, fetch
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience

BASE = "org/base"
FILES = {
    "adapter_config.json": json.dumps({"r": 8}).encode(),
    "adapter_model.safetensors": b"weights" * 1000,
    "chat_template.jinja": b"{{ messages }}",
}


class Stored:
    """A store in a folder, with one version of an adapter in it; and a place where it is wanted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = DirectoryArtifacts(root / "store")
        self.folder = root / "models" / "weights"
        self.waits: list[float] = []
        self.digest = self.upload("final")

    def upload(self, name: str, files: dict[str, bytes] | None = None, **more: Any) -> str:
        """Put a version there; its manifest's digest."""
        sources = {}
        for path, content in (files or FILES).items():
            sources[path] = self.root / "out" / name / path
            sources[path].parent.mkdir(parents=True, exist_ok=True)
            sources[path].write_bytes(content)
        said = {"run_id": "r-1", "step": 1, "final": True, "kind": "adapter", "base_model": BASE, **more}
        blank = Manifest(**said)
        return manifests.upload(self.store, f"runs/{name}", blank, sources, Patience(tries=1))[1]

    def path(self, name: str = "final") -> Path:
        """Where a version lies in the store."""
        return self.root / "store" / "runs" / name

    def part(self, **more: Any) -> Part:
        """The weights, to be copied."""
        said = {"url": self.path().as_uri(), "folder": str(self.folder), "manifest_digest": self.digest}
        return Part(name="weights", **{**said, **more})

    def asked(self, part: Part | None = None, **more: Any) -> Asked:
        """Only these weights."""
        said = {"parts": (part or self.part(),), "kind": "adapter", "base_model": BASE}
        return Asked(**{**said, **more})

    def fetch(self, asked: Asked | None = None, tries: int = 2) -> None:
        """Without waiting."""
        fetch(asked or self.asked(), Patience(tries=tries, sleep=self.waits.append))

    def write(self, asked: Asked) -> dict[str, str]:
        """The file that the container is given; its environment."""
        path = self.root / "fetch.json"
        path.write_bytes(msgspec.json.encode(asked))
        return {"KUZNIA_FETCH": str(path)}

    def here(self) -> dict[str, bytes]:
        """What was brought."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file()
        }
