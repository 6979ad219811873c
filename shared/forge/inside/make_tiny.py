"""A random llama of 19 thousand weights with a tokenizer of bytes: what integration tests train and serve.

Run as `python -m shared.forge.inside.make_tiny <folder>`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from shared.forge.inside.hub_folder import (
    END_OF_TURN,
    Tensor,
    write_json,
    write_safetensors,
    write_tokenizer,
)

HIDDEN, INNER, LAYERS, HEADS, CONTEXT = 32, 64, 1, 2, 512
SEED, SPREAD = 0, 0.02
SPECIAL = ("<|endoftext|>", "<|im_start|>", END_OF_TURN)
PAD, BEGIN, END = range(3)
VOCABULARY_MULTIPLE = 8


def make(folder: Path) -> None:
    """Write the folder; the same bytes every time."""
    folder.mkdir(parents=True)
    vocabulary = _vocabulary()
    write_safetensors(folder / "model.safetensors", _tensors(len(vocabulary)))
    special = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD}
    write_json(folder / "config.json", _config(len(vocabulary)) | special)
    write_json(folder / "generation_config.json", special | {"do_sample": False})
    write_tokenizer(
        folder,
        vocabulary=vocabulary,
        merges=[],
        special=SPECIAL,
        config={"bos_token": SPECIAL[BEGIN], "pad_token": SPECIAL[PAD], "model_max_length": CONTEXT},
    )


def _vocabulary() -> list[str]:
    tokens = [*SPECIAL, *(_byte_letter(byte) for byte in range(256))]
    unused = -len(tokens) % VOCABULARY_MULTIPLE
    return tokens + [f"<|unused{number}|>" for number in range(unused)]


def _byte_letter(byte: int) -> str:
    """The printable letter that ByteLevel tokenizers write for a byte (GPT-2's table)."""
    return chr(byte) if _printable(byte) else chr(256 + sum(not _printable(lower) for lower in range(byte)))


def _printable(byte: int) -> bool:
    return 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte <= 0xFF


def _tensors(vocabulary: int) -> list[Tensor]:
    random = np.random.default_rng(SEED)
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in _layer().items()}
    return [Tensor(name, shape, _content(random, shape)) for name, shape in shapes.items()]


def _layer() -> dict[str, tuple[int, ...]]:
    attention = {f"self_attn.{part}_proj": (HIDDEN, HIDDEN) for part in "qkvo"}
    norms = {"input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,)}
    inner = {"mlp.gate_proj": (INNER, HIDDEN), "mlp.up_proj": (INNER, HIDDEN)}
    return {**norms, **attention, **inner, "mlp.down_proj": (HIDDEN, INNER)}


def _content(random: np.random.Generator, shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
    is_norm = len(shape) == 1
    return lambda: np.ones(shape) if is_norm else random.normal(0, SPREAD, shape)


def _config(vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HIDDEN // HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": vocabulary,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]))
