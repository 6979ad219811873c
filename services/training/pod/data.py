"""What was trained on, as the card tells it: the digest of every data file, and how many rows it has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.experiment.experiment import names_of

MAX_COUNTED = 256 * 1024 * 1024  # bytes; the rows of a larger file are not counted


def data_facts(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """`data.<file>` -> `sha256:<hex>` and `rows.<file>` -> number, for each training file in the folder."""
    where = folder / str(config.get("dataset_dir", "data"))
    facts: dict[str, str] = {}
    for path in _files(where, config):  # what a URL names is told by `remote`
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            facts[f"data.{name}"] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        number = rows(path)
        if number is not None:
            facts[f"rows.{name}"] = str(number)
    return facts


def known_sets(where: Path) -> dict[str, Any]:
    """The entries of that folder's dataset_info.json; none where it cannot be read."""
    try:
        known = json.loads((where / "dataset_info.json").read_bytes())
    except (OSError, ValueError):
        return {}  # a data set of the hub: nothing of it lies here
    return known if isinstance(known, dict) else {}


def used(config: Mapping[str, Any], *keys: str) -> list[str]:
    """Names of the data sets under these keys of the config."""
    return [name for key in keys for name in names_of(config.get(key))]


def _files(where: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    known = known_sets(where)
    for name in used(config, "dataset"):
        path = where / str(known.get(name, {}).get("file_name", ""))
        if path.is_file():
            yield path


def rows(path: Path) -> int | None:
    """Rows of JSON or JSON Lines; None for what we cannot count."""
    if path.stat().st_size > MAX_COUNTED:
        return None
    content = path.read_bytes()
    if path.suffix == ".jsonl":
        return sum(1 for line in content.splitlines() if line.strip())
    if path.suffix != ".json":
        return None
    try:
        found = json.loads(content)
    except ValueError:
        return sum(1 for line in content.splitlines() if line.strip())  # JSON Lines by another name
    return len(found) if isinstance(found, list) else None
