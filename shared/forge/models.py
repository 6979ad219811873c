"""Base models on this machine: named as on the hub, a folder `<organisation>--<name>` each."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import Reject

SOURCE = "SOURCE.json"
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


def resolve(models: Path, name: str) -> BaseModel | None:
    """The model, or None where it is not on this machine. Raises Reject for a name that is none."""
    path = folder(models, name)
    source = read_source(path)
    if source is None or source.name != name:
        return None
    return BaseModel(
        name=name, path=path, revision=source.revision, digest=source.digest, licence=source.licence
    )


def available(models: Path) -> list[str]:
    """Names of the models on this machine, sorted."""
    sources = [read_source(path) for path in models.glob("*--*")]
    return sorted(source.name for source in sources if source)


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


def _file_digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
