"""Reads GGUF version 3, llama.cpp's file format: metadata, and tensors of the kinds F32, Q8_0, Q4_1."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x46554747  # "GGUF", little-endian
VERSION = 3
DEFAULT_ALIGNMENT = 32
BLOCK = 32  # weights that share one scale
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Malformed(Exception):
    """The file is not what can be read here."""


class TensorInfo(NamedTuple):
    """Where a tensor lies. shape: outermost first, as in torch. kind: ggml's number. offset: in the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int


class Gguf:
    """A GGUF file in memory: `metadata`, `tensors`, and their contents as float32."""

    def __init__(self, content: bytes) -> None:
        """Read the header. Raises Malformed."""
        self._content = np.frombuffer(content, np.uint8)
        cursor = _Cursor(content)
        if cursor.scalar("I") != MAGIC or cursor.scalar("I") != VERSION:
            raise Malformed(f"this is no GGUF file of version {VERSION}")
        tensor_count, entry_count = cursor.scalar("Q"), cursor.scalar("Q")
        self.metadata: dict[str, Any] = {}
        for _ in range(entry_count):
            key = cursor.string()
            self.metadata[key] = cursor.value(cursor.scalar("I"))
        infos = [cursor.tensor() for _ in range(tensor_count)]
        alignment = self.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        base = math.ceil(cursor.position / alignment) * alignment
        self.tensors = [info._replace(offset=base + info.offset) for info in infos]

    def content(self, info: TensorInfo) -> np.ndarray:
        """The tensor's content as float32, in its shape. Raises Malformed for a kind not known here."""
        if info.kind not in _KINDS:
            raise Malformed(f"tensor {info.name} is of ggml's kind {info.kind}; known are {sorted(_KINDS)}")
        size, block_bytes, decode = _KINDS[info.kind]
        end = info.offset + math.prod(info.shape) // size * block_bytes
        return decode(self._content[info.offset : end].reshape(-1, block_bytes)).reshape(info.shape)


class _Cursor:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def scalar(self, code: str) -> Any:
        value = struct.unpack_from(f"<{code}", self._content, self.position)[0]
        self.position += struct.calcsize(f"<{code}")
        return value

    def string(self) -> str:
        length = self.scalar("Q")
        self.position += length
        return self._content[self.position - length : self.position].decode("utf-8", "surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            element, count = self.scalar("I"), self.scalar("Q")
            return [self.value(element) for _ in range(count)]
        return self.scalar(_SCALARS[kind])

    def tensor(self) -> TensorInfo:
        name, dimensions = self.string(), self.scalar("I")
        innermost_first = [self.scalar("Q") for _ in range(dimensions)]
        kind, offset = self.scalar("I"), self.scalar("Q")
        return TensorInfo(name, tuple(reversed(innermost_first)), kind, offset)


def _half(two_bytes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(two_bytes).view("<f2").astype(np.float32)


def _f32(blocks: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(blocks).view("<f4")


def _q8_0(blocks: np.ndarray) -> np.ndarray:
    """A block: scale (f16), 32 signed bytes."""
    return blocks[:, 2:].view(np.int8).astype(np.float32) * _half(blocks[:, :2])


def _q4_1(blocks: np.ndarray) -> np.ndarray:
    """A block: scale (f16), minimum (f16), 16 bytes of nibbles: weights 0-15 low, 16-31 high."""
    nibbles = blocks[:, 4:]
    quantised = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)
    quantised *= _half(blocks[:, :2])
    quantised += _half(blocks[:, 2:4])
    return quantised


# ggml's number of the kind: weights in a block, bytes of a block, decoder.
_KINDS = {0: (1, 4, _f32), 3: (BLOCK, 20, _q4_1), 8: (BLOCK, 34, _q8_0)}
