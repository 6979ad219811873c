"""A whole model of a hub in this machine's cache: a folder a commit, made once, by whoever comes first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from shared.errors import Reject, Retry
from shared.forge import models
from shared.forge.models import BaseModel, Source
from shared.hub.client import Hub, Listing, RemoteFile
from shared.hub.download import fetch
from shared.podkit.locked import locked
from shared.podkit.patience import Patience

LOCK_SECONDS = 3600.0
# What makes a model answer, and what it may be used for. No pickles and no code: loading them would run them.
WANTED = (
    "*.safetensors", "*.json", "tokenizer*", "vocab.*", "merges.txt", "*.jinja", "*.model", "*.tiktoken",
    "LICENSE*", "NOTICE*", "USE_POLICY*", "README.md",
)  # fmt: skip
REFUSED = ("consolidated*", "*.bin", "*.pt", "*.pth", "*.py", "*.pkl", ".*")


def bring(hub: Hub, folder: Path, name: str, revision: str, patience: Patience | None = None) -> BaseModel:
    """The model at this revision, fetched unless it is here. folder: of all base models.

    A branch or tag is resolved now, and what it stood for is kept for times without a hub. Two processes that
    ask at once fetch once; what a killed one had is gone on with. Raises Reject, Retry, OSError (disk).
    """
    patient = patience or Patience()
    asked = revision or models.DEFAULT_REVISION
    if models.is_commit(asked) and (found := models.resolve(folder, name, asked)):
        return found
    models.folder(folder, name)  # that it is a name, before it is put into a URL
    listing = patient.insist(f"asking for {name}", lambda: hub.listing(name, asked))
    place = models.commit_folder(folder, name, listing.commit)
    with locked(place.with_name(f"{place.name}.lock"), LOCK_SECONDS):
        if models.resolve(folder, name, listing.commit) is None:
            _fetch_all(hub, name, listing, place, patient)
        models.remember(folder, name, asked, listing.commit)
    found = models.resolve(folder, name, listing.commit)
    if found is None:
        raise Retry(f"{place} was removed while it was made")
    return found


def _fetch_all(hub: Hub, name: str, listing: Listing, place: Path, patience: Patience) -> None:
    files = _chosen(name, listing)
    aside = place.with_name(f".{place.name}.unfinished")
    aside.mkdir(parents=True, exist_ok=True)
    _require_room(aside, files)
    for file in files:
        if not (aside / file.path).exists():
            fetch(hub, (name, listing.commit), file, aside / file.path, patience)
    source = Source(
        name=name, revision=listing.commit, licence=listing.licence, origin=f"{hub.endpoint}/{name}"
    )
    models.write_source(aside, source)
    for path in aside.iterdir():
        _sync(path)
    if place.exists():  # without SOURCE.json, so it is none
        shutil.rmtree(place)
    aside.rename(place)
    _sync(place.parent)


def _chosen(name: str, listing: Listing) -> list[RemoteFile]:
    """The small ones first: what is missing or gated shows before gigabytes have come."""
    chosen = [file for file in listing.files if _is_wanted(file.path)]
    if not any(file.path.endswith(".safetensors") for file in chosen):
        raise Reject(
            f"{name} at {listing.commit[:12]} holds no *.safetensors, and pickled weights are not taken (loading"
            " them runs what is in them): name a revision or a model that has them"
        )
    return sorted(chosen, key=lambda file: (file.path.endswith(".safetensors"), file.path))


def _is_wanted(path: str) -> bool:
    wanted = any(fnmatch(path, pattern) for pattern in WANTED)
    return "/" not in path and "\\" not in path and wanted and not any(fnmatch(path, p) for p in REFUSED)


def _require_room(aside: Path, files: Sequence[RemoteFile]) -> None:
    there = sum(file.stat().st_size for file in aside.iterdir())
    needed = sum(max(file.size, 0) for file in files) - there
    free = shutil.disk_usage(aside).free
    if needed > free:
        raise Reject(
            f"the model needs {needed / 1e9:.1f} GB more in {aside.parent}, and {free / 1e9:.1f} GB are free:"
            " make room, or name another cache with XDG_CACHE_HOME"
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
