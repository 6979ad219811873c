"""The files of an experiment: what may lie in it, the data it trains on, and the rows it is judged by."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.experiment.experiment import DATASET_INFO, Experiment, joined, leaves, names_of
from shared.experiment.faults import Fault, nearest, shown
from shared.experiment.locations import TYPES, is_location, sha256_of, wrong_with

_ELSEWHERE = {
    "script_url": "runs a script",
    "hf_hub_url": "fetches from a hub",
    "ms_hub_url": "fetches from a hub",
    "om_hub_url": "fetches from a hub",
    "cloud_file_name": "fetches from a bucket",
}
_KINDS = {
    "symlink": ("is a symbolic link, which may lead out of the repository", "commit the file itself"),
    "submodule": ("is a submodule, which is not fetched", "commit the files themselves"),
}


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """dataset_info.json: its path, its text, its entries, and what was wrong with it."""

    path: str
    text: str = ""
    entries: dict[str, Any] = {}
    faults: tuple[Fault, ...] = ()

    def where(self, name: str = "") -> str:
        """With the line of the entry."""
        match = re.search(re.escape(json.dumps(name)) + r"\s*:", self.text) if name else None
        line = f":{self.text.count(chr(10), 0, match.start()) + 1}" if match else ""
        return f"{shown(self.path)}{line} {shown(name)}" if name else shown(self.path)


def check_files(experiment: Experiment) -> Iterator[Fault]:
    """Links, submodules, and paths that no folder can have."""
    for entry in experiment.folder.files:
        if entry.kind in _KINDS:
            what, mend = _KINDS[entry.kind]
            yield Fault(where=shown(entry.path), what=what, mend=mend)
        elif leaves(entry.path):
            yield Fault(where=shown(entry.path), what="is a path outside the experiment", mend="remove it")


def check_data(experiment: Experiment) -> Iterator[Fault]:
    """The data sets that the config names, and the evaluation set."""
    directory = experiment.setting("dataset_dir", "data")
    trained: dict[str, str] = {}
    info: Info | None = None
    if not experiment.setting("dataset"):
        yield Fault(
            where=experiment.config.where("dataset"),
            what="is missing: nothing to train on",
            mend=f"name an entry of {DATASET_INFO}, such as `dataset: train`",
        )
    if isinstance(directory, str) and not leaves(directory):
        info = read_info(experiment, directory)
        yield from info.faults
        yield from _forbidden(experiment, info)
        yield from _named(experiment, info)
        trained = _trained(experiment, info, directory)
        yield from _present(experiment, info, directory)
    yield from _evaluation_set(experiment, info, trained)
    yield from _data_id(experiment, info)


def read_info(experiment: Experiment, directory: str) -> Info:
    """dataset_info.json of that folder."""
    path = joined(directory, DATASET_INFO)
    text = experiment.folder.texts.get(path)
    if text is None:
        return Info(path=path, faults=_unread(experiment, path))
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
        wrong = Fault(
            where=f"{shown(path)}{line}", what=f"is not valid JSON: {reason}", mend="correct it there"
        )
        return Info(path=path, text=text, faults=(wrong,))
    if not isinstance(entries, dict):
        wrong = Fault(
            where=shown(path),
            what="is no object of data sets",
            mend='write {"train": {"file_name": "train.json"}}',
        )
        return Info(path=path, text=text, faults=(wrong,))
    return Info(path=path, text=text, entries=entries)


def _unread(experiment: Experiment, path: str) -> tuple[Fault, ...]:
    if path in experiment.files or not experiment.setting("dataset"):
        return ()  # told as unreadable, or without use
    others = sorted(p for p in experiment.files if p.rsplit("/", 1)[-1] == DATASET_INFO)
    place = others[0].rpartition("/")[0] or "." if others else ""
    mend = (
        f"write `dataset_dir: {shown(place)}` in config.yaml"
        if others
        else "add it, with an entry for each data set"
    )
    return (Fault(where=shown(path), what="is not there, and tells where the data sets lie", mend=mend),)


def _forbidden(experiment: Experiment, info: Info) -> Iterator[Fault]:
    for name, entry in info.entries.items():
        if not isinstance(entry, dict):
            yield Fault(where=info.where(name), what="is no object", mend='write {"file_name": "train.json"}')
            continue
        for key in entry.keys() & _ELSEWHERE.keys():
            yield Fault(
                where=info.where(name),
                what=f"{_ELSEWHERE[key]} ({key}), so its content would not be what was committed",
                mend="commit the data and write `file_name`, with its path or its URL",
            )
        file = entry.get("file_name")
        yield from check_location(experiment, info.where(name), file, entry.get("sha256"))
        if file is not None and (not isinstance(file, str) or (leaves(file) and not is_location(file))):
            yield Fault(
                where=info.where(name),
                what=f"has the file_name `{shown(file)}`, which leads out of the experiment's folder",
                mend="write a relative path without `..`",
            )


def check_location(experiment: Experiment, where: str, name: object, digest: object) -> Iterator[Fault]:
    """What is wrong with data that a URL names, and with the `sha256` beside it."""
    elsewhere = isinstance(name, str) and is_location(name)
    if isinstance(name, str) and elsewhere:
        for what, mend in wrong_with(name, experiment.data_roots):
            yield Fault(where=where, what=f"names `{shown(name)}`, which {what}", mend=mend)
    if sha256_of(digest) is None:
        yield Fault(
            where=where,
            what="has a sha256 that is none",
            mend="write the 64 digits that `sha256sum` prints, or remove it",
        )
    elif digest and not elsewhere:
        yield Fault(
            where=where,
            what="has a sha256, which is for data that a URL names; Git keeps that of a committed file",
            mend="remove it",
        )


def _used(experiment: Experiment) -> list[tuple[str, str]]:
    """Key of the config and name of each data set it uses."""
    return [(key, name) for key in ("dataset", "eval_dataset") for name in names_of(experiment.setting(key))]


def _named(experiment: Experiment, info: Info) -> Iterator[Fault]:
    if info.faults or not (info.text or info.entries):
        return
    for key, name in _used(experiment):
        if name not in info.entries:
            near = nearest(name, info.entries)
            there = ", ".join(shown(entry) for entry in sorted(info.entries)[:8]) or "nothing"
            yield Fault(
                where=experiment.config.where(key),
                what=f"names `{shown(name)}`, which is not in {info.where()}",
                mend=f"did you mean `{near}`?" if near else f"add it there (there is {there})",
            )


def _file_of(info: Info, name: str, directory: str) -> str | None:
    entry = info.entries.get(name)
    file = entry.get("file_name") if isinstance(entry, dict) else None
    return joined(directory, file) if isinstance(file, str) and file and not leaves(file) else None


def _trained(experiment: Experiment, info: Info, directory: str) -> dict[str, str]:
    """Digest of each file that is trained on, by path; a data set may be a folder of files."""
    named = (_file_of(info, name, directory) for name in names_of(experiment.setting("dataset")))
    roots = [path for path in named if path]
    return {
        path: digest
        for path, digest in experiment.files.items()
        if any(path == root or path.startswith(f"{root}/") or root == "." for root in roots)
    }


def _present(experiment: Experiment, info: Info, directory: str) -> Iterator[Fault]:
    sizes = {entry.path: entry.size for entry in experiment.folder.files if entry.kind == "file"}
    for name in dict.fromkeys(name for _, name in _used(experiment)):
        path = _file_of(info, name, directory)
        if path is None:
            yield from _fileless(info, name)
            continue
        inside = [file for file in sizes if file.startswith(f"{path}/")]
        yield from _file_faults(info.where(name), path, sizes, inside)


def _fileless(info: Info, name: str) -> Iterator[Fault]:
    entry = info.entries.get(name)
    if isinstance(entry, dict) and not entry.get("file_name") and not entry.keys() & _ELSEWHERE.keys():
        yield Fault(where=info.where(name), what="has no file_name", mend='write "file_name": "train.json"')


def _file_faults(where: str, path: str, sizes: dict[str, int], inside: list[str]) -> Iterator[Fault]:
    if path not in sizes and not inside:
        near = nearest(path, sizes)
        mend = f"did you mean `{shown(near)}`?" if near else "commit the file, or correct file_name"
        yield Fault(where=where, what=f"names `{shown(path)}`, a file that is not in this folder", mend=mend)
    for file in [path] if path in sizes else inside:
        if file.rsplit(".", 1)[-1] not in TYPES:
            yield Fault(
                where=where,
                what=f"names `{shown(file)}`, a type of file that LLaMA-Factory does not read",
                mend=f"take one of {', '.join(TYPES)}",
            )
        elif not sizes[file]:
            yield Fault(where=shown(file), what="is empty", mend="put the rows in")


def _evaluation_set(experiment: Experiment, info: Info | None, trained: dict[str, str]) -> Iterator[Fault]:
    manifest, files = experiment.manifest, experiment.files
    name, where = manifest.get("evaluation", "set"), manifest.where("evaluation", "set")
    if not isinstance(name, str) or not name.strip():
        return  # told by the schema
    digest = manifest.get("evaluation", "sha256")
    yield from check_location(experiment, where, name.strip(), digest)
    path = joined(".", name.strip())
    if is_location(name.strip()):
        path = name.strip()
        known, content = _trained_elsewhere(experiment, info), sha256_of(digest)
    else:
        known, content = trained, files.get(path)
        if leaves(name):
            what, mend = "leads out of the folder", "write a relative path without `..`, or a URL"
            yield Fault(where=where, what=f"is `{shown(name)}`, which {what}", mend=mend)
            return
        if path not in files:
            near = nearest(path, files)
            mend = f"did you mean `{shown(near)}`?" if near else "commit the file, or correct the name"
            what = f"names `{shown(path)}`, a file that is not in this folder"
            yield Fault(where=where, what=what, mend=mend)
            return
    yield from _unfit(where, path, memory=path in known or bool(content and content in known.values()))


def _unfit(where: str, path: str, *, memory: bool) -> Iterator[Fault]:
    if not path.endswith((".json", ".jsonl")):
        what, mend = "is neither .json nor .jsonl", "convert it"
        yield Fault(where=where, what=f"is `{shown(path)}`, which {what}", mend=mend)
    elif memory:
        yield Fault(
            where=where,
            what=f"is `{shown(path)}`, whose content is also trained on, so that it would measure memory",
            mend="keep rows for it that no training set has",
        )


def _data_id(experiment: Experiment, info: Info | None) -> Iterator[Fault]:
    """Any name will do; but a URL there says of what the model was trained on."""
    said = experiment.manifest.get("data", "id")
    if not isinstance(said, str) or not is_location(said.strip()):
        return
    named = said.strip().rstrip("/")
    read = _trained_elsewhere(experiment, info)
    if not any(url == named or url.startswith((f"{named}/", f"{named}@")) for url in read):
        yield Fault(
            where=experiment.manifest.where("data", "id"),
            what=f"is `{shown(named)}`, a URL that config.yaml does not train on",
            mend=f"write the file_name of {DATASET_INFO}, or a name that is no URL",
        )


def _trained_elsewhere(experiment: Experiment, info: Info | None) -> dict[str, str]:
    """SHA-256 (or nothing) of each URL that is trained on."""
    entries = info.entries if info else {}
    named = [entries.get(name) for name in names_of(experiment.setting("dataset"))]
    return {
        entry["file_name"]: sha256_of(entry.get("sha256")) or ""
        for entry in named
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)
    }
