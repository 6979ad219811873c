"""Base models from an artifact store (KUZNIA_BASES, a URL): folders as `kuznia bases fetch` makes them, copied there.

For machines without a way to a hub. What is fetched is what SOURCE.json says it is, by its digest, or is not taken.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import msgspec

from shared.errors import Reject
from shared.forge import models
from shared.forge.models import BaseModel, Source
from shared.podkit.locked import locked
from shared.podkit.patience import Patience
from shared.ports.artifacts import Artifacts

LOCK_SECONDS = 3600.0
VARIABLE = "KUZNIA_BASES"


def bring_stored(store: Artifacts, folder: Path, name: str, revision: str) -> BaseModel | None:
    """The model at this revision, copied from the store; None where that has none. folder: of all base models.

    revision: as of `shared.forge.models.resolve`; what a branch stands for is what the store's `@refs.json` says.
    Raises Reject (damaged, no name), Retry, OSError (disk).
    """
    patience = Patience()
    place = _place(store, folder, name, revision, patience)
    if place is None:
        return None
    with locked(place.with_name(f"{place.name}.lock"), LOCK_SECONDS):
        if models.read_source(place) is None:
            _copy(store, place, patience)
    if "@" in place.name:
        models.remember(folder, name, revision or models.DEFAULT_REVISION, place.name.partition("@")[2])
    return models.resolve(folder, name, revision)


def _place(store: Artifacts, folder: Path, name: str, revision: str, patience: Patience) -> Path | None:
    """Where it will lie, under the name that it has there too."""
    made = models.folder(folder, name)
    said = patience.insist(f"looking for {name}", lambda: _read(store, f"{made.name}/{models.SOURCE}"))
    if said and revision in ("", msgspec.json.decode(said, type=Source).revision):
        return made
    asked = revision or models.DEFAULT_REVISION
    if not models.is_commit(asked):
        refs = patience.insist("reading branches", lambda: _read(store, f"{made.name}@refs.json"))
        asked = msgspec.json.decode(refs, type=dict[str, str]).get(asked, "") if refs else ""
    if not asked:
        return None
    place = models.commit_folder(folder, name, asked)
    found = patience.insist(f"looking for {name}", lambda: _read(store, f"{place.name}/{models.SOURCE}"))
    return place if found else None


def _copy(store: Artifacts, place: Path, patience: Patience) -> None:
    aside = place.with_name(f".{place.name}.stored")
    shutil.rmtree(aside, ignore_errors=True)
    paths = patience.insist(f"listing {place.name}", lambda: store.list(f"{place.name}/"))
    for path in paths:
        name = path.removeprefix(f"{place.name}/")
        if "/" in name:
            raise Reject(
                f"{store.uri(path)}: a base model is files without folders; see `kuznia bases fetch`"
            )
        patience.insist(f"fetching {name}", partial(store.download, path, aside / name))
    source = models.read_source(aside)
    if source is None or models.digest(aside) != source.digest:
        shutil.rmtree(aside, ignore_errors=True)
        raise Reject(
            f"{store.uri(place.name)} is not what its {models.SOURCE} says (digest"
            f" {source.digest if source else 'missing'}): it was not copied whole; copy the folder again"
        )
    aside.rename(place)


def _read(store: Artifacts, path: str) -> bytes | None:
    try:
        return store.read(path)
    except FileNotFoundError:
        return None
