"""Base models on this machine: named as on the hub, a folder each.

`<organisation>--<name>` was made here (`make trainer`); `<organisation>--<name>@<commit>` came from a hub, which
`shared.hub` asks. `<organisation>--<name>@refs.json` keeps what branches and tags stood for when they were asked.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import Reject

SOURCE = "SOURCE.json"
DEFAULT_REVISION = "main"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "vocab.*", "merges.txt", "*.jinja")
_BLOCK = 1 << 20


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """SOURCE.json, written last into a whole model.

    revision: of what it was made from. origin: where that came from. made_with: digest of the recipe.
    digest: `sha256:<hex>` over its weight, configuration and tokenizer files.
    """

    name: str
    revision: str
    licence: str
    origin: str
    made_with: str = ""
    digest: str = ""


class BaseModel(msgspec.Struct, frozen=True, kw_only=True):
    """A base model that is there. path: its folder, as `from_pretrained` takes it."""

    name: str
    path: Path
    revision: str
    digest: str
    licence: str


def folder(models: Path, name: str) -> Path:
    """Where a model of this name lies. Raises Reject where the name is not `<organisation>/<name>`."""
    parts = name.split("/")
    if len(parts) != 2 or ".." in name or not all(_PART.fullmatch(part) for part in parts):
        raise Reject(
            f"{name!r} is not the name of a base model; it should be `<organisation>/<name>` as on the hub,"
            " such as `HuggingFaceTB/SmolLM2-135M-Instruct`: letters, digits, `-`, `_` and single dots"
        )
    return models / "--".join(parts)


def commit_folder(models: Path, name: str, commit: str) -> Path:
    """Where a model of a hub lies at this commit. Raises Reject (no name)."""
    path = folder(models, name)
    return path.with_name(f"{path.name}@{commit}")


def is_commit(revision: str) -> bool:
    """Whether it names one content for ever, and not what a branch or tag stands for today."""
    return bool(_COMMIT.fullmatch(revision))


def resolve(models: Path, name: str, revision: str = "") -> BaseModel | None:
    """The model at this revision, or None where it is not on this machine. Raises Reject for a name that is none.

    revision: a commit; a branch or tag means what it stood for when the hub was asked last; empty is the one
    that was made here, else the hub's default branch.
    """
    made = _at(folder(models, name), name)
    if made and revision in ("", made.revision):
        return made
    asked = revision or DEFAULT_REVISION
    commit = asked if is_commit(asked) else _remembered(models, name).get(asked, "")
    return _at(commit_folder(models, name, commit), name) if commit else None


def remember(models: Path, name: str, revision: str, commit: str) -> None:
    """Keep what a branch or tag stands for; a commit needs no memory."""
    known = _remembered(models, name)
    if is_commit(revision) or known.get(revision) == commit:
        return
    path = _memory(models, name)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode({**known, revision: commit}), indent=2))
    fresh.replace(path)


def everything(models: Path) -> list[BaseModel]:
    """All models on this machine, each revision, in order of their names."""
    named = [(path, read_source(path)) for path in models.glob("[!.]*--*")]
    found = [_at(path, source.name) for path, source in named if source]
    return sorted(filter(None, found), key=lambda model: (model.name, model.revision))


def available(models: Path) -> list[str]:
    """Names of the models on this machine, sorted."""
    return sorted({model.name for model in everything(models)})


def read_source(path: Path) -> Source | None:
    """What SOURCE.json in this folder says, or None where it is absent or no such document."""
    try:
        return msgspec.json.decode((path / SOURCE).read_bytes(), type=Source)
    except (OSError, msgspec.DecodeError):
        return None


def write_source(path: Path, source: Source) -> Source:
    """Write SOURCE.json into a whole model's folder, with its digest. Raises Reject (no weights)."""
    if not any(path.glob("*.safetensors")):
        raise Reject(f"{path} holds no *.safetensors file, so it is no base model")
    whole = msgspec.structs.replace(source, digest=digest(path))
    document: dict[str, Any] = msgspec.to_builtins(whole)
    temporary = path / f".{SOURCE}"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    temporary.replace(path / SOURCE)
    return whole


def digest(path: Path) -> str:
    """`sha256:<hex>` over names and contents of the files that make the model answer as it does."""
    files = {file for pattern in (*_WEIGHTS, *_TOKENIZER) for file in path.glob(pattern)}
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(f"{file.name}\0{_file_digest(file)}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _at(path: Path, name: str) -> BaseModel | None:
    source = read_source(path)
    if source is None or source.name != name:
        return None
    return BaseModel(
        name=name, path=path, revision=source.revision, digest=source.digest, licence=source.licence
    )


def _memory(models: Path, name: str) -> Path:
    path = folder(models, name)
    return path.with_name(f"{path.name}@refs.json")


def _remembered(models: Path, name: str) -> dict[str, str]:
    try:
        return msgspec.json.decode(_memory(models, name).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}


def _file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
