"""Training data that the committed `dataset_info.json` names by URL, and the one that the trainer gets instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from services.training.pod.data import known_sets, rows, used
from services.training.pod.run import Run
from shared.experiment.experiment import DATASET_INFO
from shared.experiment.locations import is_location, sha256_of
from shared.podkit.data import Desk, Fetched, Wanted

LIST = "data.json"


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What was really read. url: as committed. name: as read, at a commit. digest: `sha256:<hex>`."""

    url: str
    name: str
    digest: str
    rows: int | None = None


def bring_data(run: Run, committed: Path) -> Path | None:
    """Fetch what URLs name; the folder of the trainer's own dataset_info.json, None where there is no URL.

    committed: the `dataset_dir` of the experiment. Raises Reject, Retry, Preempted.
    """
    known = known_sets(committed)
    wanted = dict(_wanted(known, used(run.document.origin.config, "dataset", "eval_dataset")))
    if not wanted:
        return None
    folder = run.work / "data"
    desk = Desk(
        artifacts=run.ports.artifacts, place=run.prefix, folder=folder / "files", check=run.stopping.check
    )
    fetched = {one.url: desk.bring(one) for one in dict.fromkeys(wanted.values())}
    here = {name: fetched[one.url].path for name, one in wanted.items()}
    _write(folder / DATASET_INFO, json.dumps(dict(_rewritten(known, here, committed)), indent=2).encode())
    _write(run.work / LIST, msgspec.json.encode([_read(one) for one in fetched.values()]))
    return folder


def read_data(work: Path) -> list[Read]:
    """What `bring_data` fetched for this run; empty where all data lie in the experiment."""
    path = work / LIST
    return msgspec.json.decode(path.read_bytes(), type=list[Read]) if path.exists() else []


def clear_data(work: Path) -> None:
    """Once the run is over; the list of it stays."""
    shutil.rmtree(work / "data", ignore_errors=True)


def _wanted(known: Mapping[str, Any], names: list[str]) -> Iterator[tuple[str, Wanted]]:
    for name in names:
        entry = known.get(name)
        file = entry.get("file_name") if isinstance(entry, dict) else None
        if isinstance(entry, dict) and isinstance(file, str) and is_location(file):
            yield name, Wanted(url=file, sha256=sha256_of(entry.get("sha256")) or "")


def _rewritten(
    known: Mapping[str, Any], here: Mapping[str, Path], committed: Path
) -> Iterator[tuple[str, Any]]:
    """The used entries by whole paths; what only we understand, and sets that nobody asked for, left out."""
    for name, entry in known.items():
        file = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(file, str) or (is_location(file) and name not in here):
            continue
        plain = {key: value for key, value in entry.items() if key != "sha256"}
        yield name, plain | {"file_name": str(here.get(name) or committed / file)}


def _read(fetched: Fetched) -> Read:
    return Read(
        url=fetched.pin.url, name=fetched.pin.read, digest=fetched.pin.digest, rows=rows(fetched.path)
    )


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(path)
