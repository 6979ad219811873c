"""The engine's environment: vLLM in a virtual environment of its own, never the trainer's, found by its pins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.errors import Reject
from shared.forge import environment

PINS = environment.PINS.with_name("engine-cpu.txt")
GIGABYTES_NEEDED = 5.0  # 3.5 GB installed, and the downloads
INSIDE = Path(__file__).resolve().parent / "inside"


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """Written last into a whole environment. versions: of python, vllm, torch, transformers."""

    versions: dict[str, str]


class Vllm(msgspec.Struct, frozen=True, kw_only=True):
    """Where it lies."""

    home: Path
    python: Path
    versions: dict[str, str]


def locate(cache: Path, pins: Path = PINS) -> Vllm | None:
    """The environment, if it is there and whole. Starts no process. Raises Reject (no pins)."""
    home = environment.folder(cache, pins)
    python = home / "bin" / "python"
    try:
        stamp = msgspec.json.decode((home / environment.STAMP).read_bytes(), type=Stamp)
    except (OSError, msgspec.DecodeError):
        return None
    return Vllm(home=home, python=python, versions=stamp.versions) if python.exists() else None


def require(cache: Path, pins: Path = PINS) -> Vllm:
    """The environment. Raises Reject with how to make it."""
    found = locate(cache, pins)
    if found is None:
        raise Reject(
            f"the vLLM environment is not there ({environment.folder(cache, pins)}); make it with `make vllm`"
            " (3.5 GB, once for all clones of this user), name another cache with XDG_CACHE_HOME,"
            " or write `engine: llamafactory` in model.yaml"
        )
    return found


def variables(found: Vllm, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment variables to run it with: `base` without secrets, offline, its own `bin` first.

    KUZNIA_CHILDREN stays: by it the cluster finds what is left of a pod that was killed.
    """
    kept = {name: base[name] for name in ("KUZNIA_CHILDREN",) if name in base}
    return environment.inherited(found.home, base) | kept
