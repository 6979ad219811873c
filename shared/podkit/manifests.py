"""The manifest of what lies below a prefix of the artifact store: written last, so what has one is whole."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from shared.errors import Reject
from shared.identity import content_digest
from shared.podkit.patience import Patience
from shared.ports.artifacts import Artifacts

NAME = "manifest.json"


class File(msgspec.Struct, frozen=True, kw_only=True):
    """path: below the prefix. size: bytes. digest: `sha256:<hex>`."""

    path: str
    size: int
    digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Which weights these are, and every file of them. Holds no time, so equal weights are equal manifests.

    data: URL of what was trained on and lay outside the experiment -> `sha256:<hex>` of what was read.
    """

    run_id: str
    step: int
    final: bool
    kind: Literal["adapter", "model"]
    base_model: str
    base_digest: str = ""
    base_revision: str = ""
    versions: dict[str, str] = {}
    files: tuple[File, ...] = ()
    data: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


def upload(
    artifacts: Artifacts, prefix: str, manifest: Manifest, files: Mapping[str, Path], patience: Patience
) -> tuple[Manifest, str]:
    """Put the files (path below the prefix -> file) there, then the manifest; it, and its digest.

    What the manifest lists already was put there by others.

    Raises Retry with the store's own words (disk full, …) once patience is at its end; Reject.
    """
    stored = []
    for path, source in sorted(files.items()):
        place = partial(artifacts.upload, source, f"{prefix}/{path}")
        put = patience.insist(f"uploading {path}", place)
        stored.append(File(path=path, size=put.size, digest=put.digest))
    listed = sorted([*manifest.files, *stored], key=lambda file: file.path)
    whole = msgspec.structs.replace(manifest, files=tuple(listed))
    content = msgspec.json.format(msgspec.json.encode(whole, order="deterministic"), indent=2) + b"\n"
    written = patience.insist("uploading the manifest", lambda: artifacts.write(f"{prefix}/{NAME}", content))
    return whole, written.digest


def load(artifacts: Artifacts, prefix: str) -> tuple[Manifest, str] | None:
    """The manifest below a prefix and its digest, or None where there is none or it cannot be read."""
    try:
        content = artifacts.read(f"{prefix}/{NAME}")
        return msgspec.json.decode(content, type=Manifest), content_digest(content)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def faults(artifacts: Artifacts, prefix: str, manifest: Manifest) -> list[str]:
    """What is not as the manifest says, a line a file; empty where all is."""
    found = []
    with tempfile.TemporaryDirectory(prefix="kuznia-verify-") as temporary:
        for file in manifest.files:
            fault = _fault(artifacts, prefix, file, Path(temporary))
            if fault:
                found.append(f"{prefix}/{file.path} {fault}")
    return found


def download(artifacts: Artifacts, prefix: str, manifest: Manifest, target: Path) -> None:
    """Copy all files to a folder. Raises Reject where one is missing or is not as the manifest says."""
    for file in manifest.files:
        try:
            stored = artifacts.download(f"{prefix}/{file.path}", target / file.path)
        except FileNotFoundError:
            raise Reject(f"{prefix}/{file.path} is missing") from None
        if stored.digest != file.digest:
            raise Reject(f"{prefix}/{file.path} is {stored.digest}, and its manifest says {file.digest}")


def store_path(artifacts: Artifacts, uri: str) -> str:
    """The path in the store that a URI of it names; a path is returned as it is."""
    root = artifacts.uri("x")[:-1]
    return uri.removeprefix(root).strip("/")


def _fault(artifacts: Artifacts, prefix: str, file: File, scratch: Path) -> str:
    path = f"{prefix}/{file.path}"
    place = artifacts.local(path)
    try:
        if place is None:
            place = scratch / "file"
            artifacts.download(path, place)
        with place.open("rb") as content:
            digest = "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    return "" if digest == file.digest else f"is {digest}, and its manifest says {file.digest}"
