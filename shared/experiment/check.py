"""Everything that is wrong with a committed experiment, at once, before anything is paid for it.

Pure: the same folder gives the same answer on a laptop, in the webhook and in the training service.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from events.parts import Folder
from shared.experiment.conflicts import check_conflicts
from shared.experiment.datasets import check_data, check_files
from shared.experiment.document import Document, read_yaml
from shared.experiment.experiment import CONFIG, MANIFEST, TEXT_LIMIT, Experiment, is_read
from shared.experiment.faults import Fault, arranged, nearest, render, shown
from shared.experiment.keys import check_keys
from shared.experiment.memory import check_memory
from shared.experiment.rules import REFUSED, check_rules
from shared.experiment.tokens import lines_with_token

__all__ = ["Checked", "Fault", "check", "render"]


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """config: config.yaml as committed, JSON types. manifest: model.yaml with its defaults; {} if faulty.

    faults: any stops the run. warnings: none does.
    """

    config: dict[str, Any]
    manifest: dict[str, Any]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def check(
    folder: Folder,
    *,
    known_models: Collection[str] | None = None,
    data_roots: Collection[str] | None = None,
) -> Checked:
    """Never raises, whatever the folder holds. known_models: names of the base models that can be had; None: any.

    data_roots: as of `shared.experiment.locations.roots_of`; None leaves them to the pod that reads the data.
    """
    config, manifest = _document(folder, CONFIG), _document(folder, MANIFEST)
    experiment = Experiment(
        folder=folder,
        config=config,
        manifest=manifest,
        files={entry.path: entry.digest for entry in folder.files if entry.kind == "file"},
        known_models=None if known_models is None else frozenset(known_models),
        data_roots=None if data_roots is None else tuple(data_roots),
    )
    found = [*config.faults, *manifest.faults, *check_files(experiment), *_unread(folder), *_tokens(folder)]
    filled: dict[str, Any] = {}
    if CONFIG in folder.texts and (config.values or not config.faults):
        found += [
            *check_keys(config, skipped=REFUSED),
            *check_rules(experiment),
            *check_conflicts(experiment),
        ]
        found += check_data(experiment)
    if MANIFEST in folder.texts and (manifest.values or not manifest.faults):
        filled, faults = _check_manifest(manifest)
        found += [*faults, *check_memory(experiment)]
    return Checked(
        config=config.values,
        manifest=filled,
        faults=arranged(fault for fault in found if fault.level == "fault"),
        warnings=arranged(fault for fault in found if fault.level == "warning"),
    )


def _check_manifest(document: Document) -> tuple[dict[str, Any], list[Fault]]:
    # pydantic is a third of a cold start, and of all events only a pushed config needs it.
    from shared.experiment.manifest_faults import check_manifest  # noqa: PLC0415 - see above

    return check_manifest(document)


def _document(folder: Folder, name: str) -> Document:
    if name in folder.texts:
        return read_yaml(name, folder.texts[name])
    entries = {entry.path: entry for entry in folder.files}
    if name in entries:
        return Document(name=name)  # told as unreadable, or as a link
    near = nearest(name, [path for path in entries if "/" not in path])
    hint = f"rename `{shown(near)}`" if near else "`kuznia new` writes one"
    return Document(name=name, faults=(Fault(where=name, what="is not in the folder", mend=hint),))


def _unread(folder: Folder) -> Iterator[Fault]:
    for entry in folder.files:
        if entry.kind == "file" and is_read(entry.path) and entry.path not in folder.texts:
            big = entry.size > TEXT_LIMIT
            what = f"is larger than {TEXT_LIMIT // 1024} KiB" if big else "is no text in UTF-8"
            mend = "move the data into a file of its own" if big else "save it as UTF-8"
            yield Fault(where=shown(entry.path), what=what, mend=mend)


def _tokens(folder: Folder) -> Iterator[Fault]:
    for path, text in folder.texts.items():
        for line in lines_with_token(text):
            yield Fault(
                where=f"{shown(path)}:{line}",
                what="holds what looks like a token or key in clear",
                mend="revoke it, remove it, and let the platform bring its own from a secret",
            )
