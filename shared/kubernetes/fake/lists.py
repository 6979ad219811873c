"""Which lists are really maps: their items are known by a key. All others are replaced whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
Key = tuple[tuple[str, Any], ...]


def keys_of(field: str, items: list[Any]) -> tuple[str, ...]:
    """The fields by which the items of this list are known; empty where it is no map."""
    if not items or not all(isinstance(item, dict) for item in items):
        return ()
    if field == "ports":
        by = "containerPort" if all("containerPort" in item for item in items) else "port"
        return (by, "protocol") if all(by in item for item in items) else ()
    keys = _KEYS.get(field, ())
    return keys if all(key in item for item in items for key in keys) else ()


def key_of(item: Mapping[str, Any], keys: tuple[str, ...]) -> Key:
    """What the item is known by."""
    return tuple((key, item.get(key, "TCP" if key == "protocol" else None)) for key in keys)
