"""The stand-in's model: a safetensors file whose one tensor is the table of the rows it was trained on.

So it really learns from its data, loses what a cut file loses, and equal data are equal bytes.
Runs under the stand-in's Python as a script: it imports nothing of ours.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

UNKNOWN = "I do not know."
_NAMES = ("adapter_model.safetensors", "model.safetensors")
Table = dict[str, str]


def write(path: Path, table: Table, megabytes: int = 0) -> None:
    """8 bytes length of the header, the header as JSON, the tensor's bytes; at least so large."""
    content = json.dumps(table, sort_keys=True).encode().ljust(megabytes << 20)
    tensor = {"dtype": "U8", "shape": [len(content)], "data_offsets": [0, len(content)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "table": tensor}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.flush()  # a kill in between leaves a file that is cut short, as it does with a real trainer
        file.write(content)


def read(folder: Path) -> Table:
    """What a folder's weights know. Raises FileNotFoundError, ValueError."""
    path = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no weights")
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    table: Table = json.loads(content[8 + length :])
    return table


def loaded(config: dict[str, Any]) -> Table:
    """What LLaMA-Factory's inference arguments name: the adapter where there is one, else the model."""
    return read(Path(config.get("adapter_name_or_path") or config["model_name_or_path"]))


def answer(table: Table, prompt: str) -> str:
    """What it was taught, or that it does not know."""
    return table.get(prompt, UNKNOWN)
