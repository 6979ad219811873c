"""A first experiment: what `kuznia new` writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from shared.errors import Reject
from shared.experiment.manifest import LABEL

EXAMPLE = Path(__file__).parent / "example"
_SETTINGS = ("config.yaml", "model.yaml", "dataset_info.json", "README.md")
_DATA = ("train.json", "eval.json")


def scaffold(target: Path, *, tenant: str, name: str, owner: str, example: bool = True) -> list[Path]:
    """Writes an experiment folder, made where absent; returns the files written.

    example: with the data and the manifest of a complete one, which passes the check as it is; without, the
    manifest has TODOs and the data is for the user to bring. Raises Reject, having written nothing, where a
    name is none or a file is already there.
    """
    faults = [*_named(tenant=tenant, name=name, owner=owner)]
    files = (*_SETTINGS, *_DATA) if example else _SETTINGS
    there = [file for file in files if (target / file).is_symlink() or (target / file).exists()]
    if there:
        faults.append(f"{target} already has {', '.join(there)}: choose another folder, or move them away")
    if target.exists() and not target.is_dir():
        faults.append(f"{target} is a file: choose another folder")
    if faults:
        raise Reject("\n".join(faults))
    words = {"{{tenant}}": tenant, "{{name}}": name, "{{owner}}": json.dumps(owner, ensure_ascii=False)}
    target.mkdir(parents=True, exist_ok=True)
    return [_write(target / file, _filled(file, words, example=example)) for file in files]


def _named(*, tenant: str, name: str, owner: str) -> list[str]:
    rule = "should be at most 40 of a-z, 0-9 and `-`, beginning with a letter"
    labels = {"tenant": tenant, "name": name}
    faults = [
        f"{key} is {value!r}: it {rule}" for key, value in labels.items() if not re.fullmatch(LABEL, value)
    ]
    return faults if owner.strip() else [*faults, "owner is empty: write who answers for the model"]


def _filled(file: str, words: dict[str, str], *, example: bool) -> str:
    source = file if example or file != "model.yaml" else "model-blank.yaml"
    text = (EXAMPLE / source).read_text(encoding="utf-8")
    return re.sub(r"\{\{\w+\}\}", lambda match: words[match[0]], text)


def _write(path: Path, text: str) -> Path:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
    return path
