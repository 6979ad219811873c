"""The artifact store: files under slash-separated paths, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """One stored file: path in the store, bytes, `sha256:<hex>`."""

    path: str
    size: int
    digest: str


class Artifacts(Protocol):
    """Paths are relative (`runs/r-…/checkpoints/step-48/adapter_model.safetensors`), never with `..`."""

    def write(self, path: str, content: bytes) -> Stored:
        """Write a small file, whole, replacing what was there. Raises Retry (disk full), Reject (bad path)."""
        ...

    def create(self, path: str, content: bytes) -> Stored:
        """Write only if absent. The same content again is success; other content raises Reject."""
        ...

    def read(self, path: str) -> bytes:
        """The content. Raises FileNotFoundError."""
        ...

    def upload(self, source: Path, path: str) -> Stored:
        """Copy a file into the store, whole, hashing on the way. Raises Retry, Reject."""
        ...

    def download(self, path: str, target: Path) -> Stored:
        """Copy a file out of the store, making parent folders. Raises FileNotFoundError, Retry."""
        ...

    def list(self, prefix: str) -> Sequence[str]:
        """Paths below a prefix, sorted; unfinished writes are never among them."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove all below a prefix; absent is success."""
        ...

    def uri(self, path: str) -> str:
        """How a person or another system names it (`file:///…`, `gs://…`)."""
        ...

    def local(self, path: str) -> Path | None:
        """Where it lies on this machine, if it does: lets a pod read in place, without a copy."""
        ...
