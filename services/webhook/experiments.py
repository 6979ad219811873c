"""Which experiment folders a commit holds, and which of them are new against another commit. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared.git import Entry

MARKERS = ("model.yaml", "config.yaml")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment folder at a commit. path: in the repository, `.` for its root. tree: its tree id."""

    path: str
    tree: str


def experiments(entries: Sequence[Entry], root_tree: str, folders: Sequence[str]) -> dict[str, Found]:
    """Folders that hold a `model.yaml`; inside watched folders, a `config.yaml` alone is one too (a faulty one).

    folders: only below these is looked; empty means everywhere.
    """
    trees = {entry.path: entry.object for entry in entries if entry.kind == "tree"} | {"": root_tree}
    found: dict[str, Found] = {}
    for entry in entries:
        folder, _, name = entry.path.rpartition("/")
        if name in MARKERS and _counts(folder, name, folders) and folder in trees:
            found[folder] = Found(path=folder or ".", tree=trees[folder])
    return found


def changed(after: Mapping[str, Found], before: Mapping[str, Found]) -> list[Found]:
    """What is new or different; what is gone asks for nothing."""
    return [found for path, found in sorted(after.items()) if before.get(path) != found]


def _counts(folder: str, name: str, folders: Sequence[str]) -> bool:
    watched = not folders or any(folder == top or folder.startswith(f"{top}/") for top in folders)
    return watched and (name == "model.yaml" or bool(folders))
