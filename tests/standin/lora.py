"""A LoRA for SmolLM2-135M written by hand: real files that real engines load; its weights mean nothing."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"
_LAYERS, _HIDDEN = 30, 576


def write(folder: Path, seed: int, *, rank: int = 8, strength: float = 0.0) -> dict[str, Path]:
    """adapter_config.json and adapter_model.safetensors; by name. strength 0: it answers as its base."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": BASE,
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": ["q_proj"],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    rand = random.Random(seed)
    tensors = {}
    for layer in range(_LAYERS):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = ((rank, _HIDDEN), _floats(rand, rank * _HIDDEN, 0.05))
        tensors[f"{name}.lora_B.weight"] = ((_HIDDEN, rank), _floats(rand, rank * _HIDDEN, strength))
    (folder / "adapter_model.safetensors").write_bytes(_safetensors(tensors))
    return {path.name: path for path in folder.iterdir()}


def _floats(rand: random.Random, count: int, spread: float) -> bytes:
    values = (rand.gauss(0, spread) if spread else 0.0 for _ in range(count))
    return struct.pack(f"<{count}f", *values)


def _safetensors(tensors: dict[str, tuple[tuple[int, int], bytes]]) -> bytes:
    header, at = {}, 0
    for name, (shape, content) in tensors.items():
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(content for _, content in tensors.values())
