"""Writes a model folder as the hub has it: safetensors, configuration, a ByteLevel BPE tokenizer, ChatML."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

END_OF_TURN = "<|im_end|>"
# Plain ChatML, with no system prompt where the conversation has none: what LLaMA-Factory's `chatml` trains.
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_HEADER_ALIGNMENT = 8


class Tensor(NamedTuple):
    """A float32 tensor to be written: its name, its shape, and what makes its content when its turn comes."""

    name: str
    shape: tuple[int, ...]
    content: Callable[[], np.ndarray]


def write_safetensors(path: Path, tensors: Sequence[Tensor]) -> None:
    """Write them in order, one in memory at a time.

    Format: header length (u64, little-endian), header (JSON, padded with blanks to 8 bytes), contents.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + 4 * int(np.prod(tensor.shape))
        header[tensor.name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors:
            file.write(np.ascontiguousarray(tensor.content(), dtype="<f4").data)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """As UTF-8, indented by one as the hub's files mostly are."""
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_tokenizer(
    folder: Path,
    *,
    vocabulary: Sequence[str],
    merges: Sequence[Sequence[str]],
    special: Sequence[str],
    config: dict[str, Any],
    split_digits: bool = False,
) -> None:
    """Write tokenizer.json, tokenizer_config.json and the chat template. `config`: bos_token and so on."""
    ids = {token: number for number, token in enumerate(vocabulary)}
    split: list[dict[str, Any]] = [{"type": "Digits", "individual_digits": True}] if split_digits else []
    write_json(
        folder / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [_added(token, ids[token]) for token in special],
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*split, _byte_level(prefix=False)]},
            "post_processor": None,
            "decoder": _byte_level(prefix=True),
            "model": _bpe(ids, merges),
        },
    )
    common = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    chat = {"eos_token": END_OF_TURN, "chat_template": CHATML}
    write_json(folder / "tokenizer_config.json", common | config | chat)
    (folder / "chat_template.jinja").write_text(CHATML, encoding="utf-8")


def _added(token: str, number: int) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": token, "special": True} | plain


def _byte_level(*, prefix: bool) -> dict[str, Any]:
    # The decoder of GPT-2's family says add_prefix_space, which has no effect on decoding; kept the same.
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}


def _bpe(ids: dict[str, int], merges: Sequence[Sequence[str]]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": "",
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": ids,
        "merges": [list(pair) for pair in merges],
    }
