"""In which workload a version runs: one of its own, or the engine in common that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.ports.store import Store


def server_of(store: Store, version: Mapping[str, Any]) -> str:
    """The workload's name, for a version as a record of `releases` has it; empty where it has none."""
    shared = version.get("shared", "")
    if not shared:
        return str(version.get("release", ""))
    return str(store.load(f"engines/{shared}").data.get("server", ""))
