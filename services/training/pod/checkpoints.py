"""Whether a checkpoint folder is whole, found out without torch.

LLaMA-Factory never falls back to an older checkpoint by itself, and goes on with a reset optimizer where the
optimizer's file is missing: so the pod looks before it lets it resume.
"""

from __future__ import annotations

import json
import pickletools
import struct
import zipfile
from collections import deque
from pathlib import Path

_WEIGHTS = ("adapter_model", "model", "pytorch_model")
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
_SHARDED = ("optimizer_0", "latest")  # FSDP and DeepSpeed keep optimizer and schedule in folders of their own
_MAX_HEADER = 100 * 1024 * 1024


def step_of(folder: Path) -> int | None:
    """`checkpoint-48` -> 48; None for any other name."""
    prefix, _, number = folder.name.partition("-")
    return int(number) if prefix == "checkpoint" and number.isdecimal() else None


def local_steps(output: Path) -> list[int]:
    """Steps of the checkpoints in an output folder, whole or not, oldest first."""
    steps = (step_of(path) for path in output.glob("checkpoint-*") if path.is_dir())
    return sorted(step for step in steps if step is not None)


def finished(folder: Path) -> bool:
    """Whether the trainer is done writing it: weights, and the state that it writes last."""
    return not [*_state_faults(folder), *_weight_faults(folder)]


def faults(folder: Path) -> list[str]:
    """Why training cannot go on from it, a line each; empty where it can."""
    found = [*_state_faults(folder), *_weight_faults(folder)]
    if not any((folder / name).exists() for name in _SHARDED):
        found += _optimizer_faults(folder)
    return found


def _state_faults(folder: Path) -> list[str]:
    try:
        state = json.loads((folder / "trainer_state.json").read_bytes())
    except FileNotFoundError:
        return ["trainer_state.json is missing"]
    except ValueError:
        return ["trainer_state.json is cut short"]
    said = state.get("global_step") if isinstance(state, dict) else None
    return [] if said == step_of(folder) else [f"trainer_state.json is of step {said}"]


def _weight_faults(folder: Path) -> list[str]:
    if (folder / "latest").exists():
        return []  # DeepSpeed's own layout
    for stem in _WEIGHTS:
        index = folder / f"{stem}.safetensors.index.json"
        if index.exists():
            return _index_faults(index)
        whole = folder / f"{stem}.safetensors"
        if whole.exists():
            return _safetensors_faults(whole)
        pickled = folder / f"{stem}.bin"
        if pickled.exists():
            return _pickle_faults(pickled)
    return ["weights are missing"]


def _index_faults(index: Path) -> list[str]:
    try:
        shards = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError):
        return [f"{index.name} is cut short"]
    return [fault for shard in shards for fault in _safetensors_faults(index.with_name(shard))]


def _safetensors_faults(path: Path) -> list[str]:
    """Format: 8 bytes length of the header, the header as JSON, the data that its offsets span."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, _MAX_HEADER)))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
    except FileNotFoundError:
        return [f"{path.name} is missing"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        return [f"{path.name} has no whole header"]
    expected = 8 + length + max(ends, default=0)
    size = path.stat().st_size
    return [] if size == expected else [f"{path.name} has {size} bytes, and its header says {expected}"]


def _optimizer_faults(folder: Path) -> list[str]:
    optimizer = next((folder / name for name in _OPTIMIZERS if (folder / name).exists()), None)
    found = _pickle_faults(optimizer) if optimizer else ["the optimizer's state is missing"]
    scheduler = folder / "scheduler.pt"
    return found + (_pickle_faults(scheduler) if scheduler.exists() else ["scheduler.pt is missing"])


def _pickle_faults(path: Path) -> list[str]:
    """What torch.save wrote: a ZIP whose checksums hold, or in the old format a pickle that ends."""
    try:
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                deque(pickletools.genops(file), maxlen=0)  # to its end
            return []
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (ValueError, OSError, zipfile.BadZipFile, IndexError):
        return [f"{path.name} is cut short"]
    return [f"{path.name}: {broken} is damaged"] if broken else []
