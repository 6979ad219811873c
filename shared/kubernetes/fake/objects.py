"""Objects as nested dicts: copies, paths into them, and quantities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any

Object = dict[str, Any]
_UNITS: Mapping[str, float] = {
    "": 1,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
    "Pi": 2.0**50,
}
_PLAIN = frozenset({str, int, float, bool, NoneType})
_QUANTITY = re.compile(r"([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)")


def copied(value: Any) -> Any:
    """A copy that shares no dict or list."""
    kind = type(value)
    if kind is dict:
        return {key: item if type(item) in _PLAIN else copied(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in _PLAIN else copied(item) for item in value]
    return value


def find(value: Any, path: Iterable[str]) -> Any:
    """What lies at a path of keys, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def key_of(obj: Object) -> tuple[str, str]:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def labels_of(obj: Object) -> dict[str, str]:
    """Of its metadata."""
    return obj["metadata"].get("labels") or {}


def condition(obj: Object, kind: str) -> Object | None:
    """The condition of its status of this type."""
    for each in (obj.get("status") or {}).get("conditions") or ():
        if each.get("type") == kind:
            found: Object = each
            return found
    return None


def holds(obj: Object, kind: str) -> bool:
    """Whether the condition is there and true."""
    return (condition(obj, kind) or {}).get("status") == "True"


def controller_of(obj: Object) -> str:
    """The uid of what controls it, or empty."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def quantity(text: Any) -> float:
    """`500m`, `16Gi`, `2` as a number. Raises ValueError."""
    matched = _QUANTITY.fullmatch(str(text))
    if matched is None or matched[2] not in _UNITS:
        raise ValueError(f"{text!r} is no quantity")
    return float(matched[1]) * _UNITS[matched[2]]
