"""What was trained on, as the card tells it: the digest of every data file, and how many rows it has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_COUNTED = 256 * 1024 * 1024  # bytes; the rows of a larger file are not counted


def data_facts(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """`data.<file>` -> `sha256:<hex>` and `rows.<file>` -> number, for each training file in the folder."""
    where = folder / str(config.get("dataset_dir", "data"))
    facts: dict[str, str] = {}
    for path in _files(where, config):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            facts[f"data.{name}"] = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        rows = _rows(path)
        if rows is not None:
            facts[f"rows.{name}"] = str(rows)
    return facts


def _files(where: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    named = config.get("dataset") or ""
    names = named.split(",") if isinstance(named, str) else named
    try:
        known = json.loads((where / "dataset_info.json").read_bytes())
    except (OSError, ValueError):
        return  # a data set of the hub: nothing of it lies here
    for name in names:
        path = where / str(known.get(str(name).strip(), {}).get("file_name", ""))
        if path.is_file():
            yield path


def _rows(path: Path) -> int | None:
    """Rows of JSON or JSON Lines; None for what we cannot count."""
    if path.stat().st_size > MAX_COUNTED:
        return None
    content = path.read_bytes()
    if path.suffix == ".jsonl":
        return sum(1 for line in content.splitlines() if line.strip())
    if path.suffix != ".json":
        return None
    try:
        rows = json.loads(content)
    except ValueError:
        return sum(1 for line in content.splitlines() if line.strip())  # JSON Lines by another name
    return len(rows) if isinstance(rows, list) else None
