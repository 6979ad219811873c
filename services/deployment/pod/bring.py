"""Weights out of any store into a folder, whole and checked or not at all; or looked at where they lie."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import msgspec

from services.deployment.pod.signature import verify
from shared.errors import Reject
from shared.identity import content_digest
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience
from shared.ports.artifacts import Artifacts
from shared.storage.open import open_artifacts

SPARE = 64 * 1024 * 1024  # bytes that stay free


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """url: a folder in a store. folder: where to copy it; empty: it is looked at where it lies.

    verify: `full`, every byte; `manifest`, its digest and which files there are; `none`.
    """

    name: str
    url: str = ""
    folder: str = ""
    verify: Literal["full", "manifest", "none"] = "full"
    manifest_digest: str = ""


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose signature the manifest must have. key: file with the public key. file: name of the signature's."""

    key: Path
    file: str


def bring(part: Part, signer: Signer | None, patience: Patience) -> Manifest | None:
    """Its manifest; None where nothing is to be verified. Raises Reject where it is not what was registered, Retry."""
    store, _, last = part.url.rstrip("/").rpartition("/")
    prefix = unquote(last)
    if store.endswith(":/"):
        raise Reject(f"{part.name}: {part.url!r} names no folder: weights lie in one of their own")
    artifacts = patience.insist(f"opening {store}", lambda: open_artifacts(store))
    if part.verify == "none":
        if part.folder:
            _place(Path(part.folder), lambda target: _copy_all(artifacts, prefix, target, patience))
        return None
    manifest = _manifest(artifacts, prefix, part, signer, patience)
    if part.folder:
        _bring(artifacts, prefix, manifest, Path(part.folder), patience)
    else:
        _look(artifacts, prefix, manifest, part)
    return manifest


def _manifest(
    artifacts: Artifacts, prefix: str, part: Part, signer: Signer | None, patience: Patience
) -> Manifest:
    if not part.manifest_digest:
        raise Reject(
            f"{part.name}: no manifest_digest is given, so nobody can say what these weights should be"
        )

    def read(name: str) -> bytes:
        return patience.insist(f"reading {name}", lambda: artifacts.read(f"{prefix}/{name}"))

    try:
        content = read(manifests.NAME)
        signature = read(signer.file) if signer else b""
    except FileNotFoundError as error:
        raise Reject(
            f"{part.url} has no {error.filename.rpartition('/')[2]}: its weights are not used"
        ) from None
    digest = content_digest(content)
    if digest != part.manifest_digest:
        raise Reject(
            f"the manifest of {part.url} is {digest}, and {part.manifest_digest} was registered: the weights were"
            " exchanged, and are not used"
        )
    if signer:
        verify(content, signature, signer.key)
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise Reject(f"the manifest of {part.url} cannot be read: {error}") from error


def _bring(artifacts: Artifacts, prefix: str, manifest: Manifest, folder: Path, patience: Patience) -> None:
    here = DirectoryArtifacts(folder.parent)
    if folder.is_dir() and not _faults(here, folder.name, manifest):
        return  # brought before; the container was only started again

    def copy(target: Path) -> None:
        _require_room(target.parent, manifest.size)
        for file in manifest.files:
            one = msgspec.structs.replace(manifest, files=(file,))
            copied = partial(manifests.download, artifacts, prefix, one, target)
            patience.insist(f"copying {file.path}", copied)

    _place(folder, copy)


def _look(artifacts: Artifacts, prefix: str, manifest: Manifest, part: Part) -> None:
    found = _strangers(artifacts, prefix, manifest)
    if part.verify == "full":
        found += manifests.faults(artifacts, prefix, manifest)
    else:
        there = set(artifacts.list(f"{prefix}/"))
        names = [f"{prefix}/{file.path}" for file in manifest.files]
        found += [f"{name} is missing" for name in names if name not in there]
    if found:
        raise Reject(
            f"what lies in {part.url} is not what was registered, and is not used: {'; '.join(found)}"
        )


def _faults(artifacts: Artifacts, prefix: str, manifest: Manifest) -> list[str]:
    return [*manifests.faults(artifacts, prefix, manifest), *_strangers(artifacts, prefix, manifest)]


def _strangers(artifacts: Artifacts, prefix: str, manifest: Manifest) -> list[str]:
    """Files beside those of the manifest: a loader might prefer them. What is written about it loads nobody."""
    known = {f"{prefix}/{file.path}" for file in manifest.files}
    beside = f"{prefix}/{manifests.NAME}"
    return [
        f"{path} is in no manifest"
        for path in artifacts.list(f"{prefix}/")
        if path not in known and not path.startswith(beside)
    ]


def _copy_all(artifacts: Artifacts, prefix: str, target: Path, patience: Patience) -> None:
    names = patience.insist(f"listing {prefix}", lambda: artifacts.list(f"{prefix}/"))
    if not names:
        raise Reject(f"nothing lies in {artifacts.uri(prefix)}")
    for name in names:
        path = target / name.removeprefix(f"{prefix}/")
        patience.insist(f"copying {name}", partial(artifacts.download, name, path))


def _place(folder: Path, make: Callable[[Path], None]) -> None:
    """Made aside and renamed into its place: whoever looks sees all of it or nothing."""
    aside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        make(aside)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE:
        raise Reject(
            f"the weights have {size / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left: raise model.disk"
        )


def say(line: str) -> None:
    """For who reads the container's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
