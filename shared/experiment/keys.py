"""The keys of a LLaMA-Factory config: which there are, of what type, with which choices."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from shared.experiment.document import Document
from shared.experiment.faults import Fault, nearest, shown

HERE = Path(__file__).parent
_SPOKEN = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
    "null": "null",
}
# They belong into the other file, and are often looked for here.
_OF_THE_MANIFEST = frozenset(
    {"name", "tenant", "owner", "version", "risk_class", "purpose", "evaluation", "resources", "deployment"}
)


class Key(msgspec.Struct, frozen=True):
    """types: of str, int, float, bool, list, dict, null, any. choices: the only texts allowed; empty: any."""

    types: tuple[str, ...]
    choices: tuple[str, ...] = ()


class Catalogue(msgspec.Struct, frozen=True):
    """versions: the packages the keys were read from."""

    versions: dict[str, str]
    keys: dict[str, Key]


@functools.cache
def catalogue() -> Catalogue:
    """All keys of the pinned LLaMA-Factory and transformers (package data)."""
    return msgspec.json.decode((HERE / "llamafactory_keys.json").read_bytes(), type=Catalogue)


@functools.cache
def templates() -> tuple[str, ...]:
    """Names of LLaMA-Factory's chat templates, sorted (package data)."""
    return msgspec.json.decode((HERE / "llamafactory_templates.json").read_bytes(), type=tuple[str, ...])


def check_keys(config: Document, *, skipped: frozenset[str] = frozenset()) -> Iterator[Fault]:
    """A fault for each unknown key, and each value of a wrong type or outside its choices.

    skipped: keys that other rules refuse, whose values must not be repeated.
    """
    known = catalogue().keys
    for name, value in config.values.items():
        if name in skipped:
            continue
        if name not in known:
            yield _unknown(config, name)
        elif fault := _mistyped(known[name], value):
            what, mend = fault
            yield Fault(where=config.where(name), what=what, mend=mend)


def _unknown(config: Document, name: str) -> Fault:
    version = catalogue().versions["llamafactory"]
    near = nearest(name, catalogue().keys)
    mend = f"did you mean `{near}`?" if near else "remove it"
    if name in _OF_THE_MANIFEST:
        mend = "it belongs into model.yaml"
    return Fault(where=config.where(name), what=f"LLaMA-Factory {version} has no such key", mend=mend)


def _mistyped(key: Key, value: Any) -> tuple[str, str] | None:
    types = set(key.types)
    if "any" in types or (value is None and "null" in types):
        return None
    if value is None:
        return "has no value", "write one, or remove the line to take the default"
    if key.choices and value not in key.choices:
        return _not_chosen(key, value)
    if not types & _types_of(value):
        wanted = " or ".join(_SPOKEN[name] for name in key.types if name != "null")
        return f"is {_described(value)}, not {wanted}", f"write {wanted}"
    return None


def _not_chosen(key: Key, value: Any) -> tuple[str, str]:
    choices = ", ".join(key.choices)
    if value is False and "no" in key.choices:
        return "is `no` without quotes, which YAML reads as false", 'write "no" in quotes'
    near = nearest(value, key.choices) if isinstance(value, str) else ""
    hint = f"did you mean `{near}`? It is one of {choices}" if near else f"write one of {choices}"
    return f"is {_described(value)}, which is none of its choices", hint


def _types_of(value: Any) -> set[str]:
    """The type names a value counts as: a whole number is also a number, true is no number."""
    if isinstance(value, bool):
        return {"bool"}
    if isinstance(value, int):
        return {"int", "float"}
    return {type(value).__name__}


def _described(value: Any) -> str:
    if isinstance(value, dict | list):
        return _SPOKEN[type(value).__name__]
    if isinstance(value, bool):
        return str(value).lower()
    return f"`{shown(value)}`"
