"""What one commit of Firestore takes. The emulator takes more, so this is kept to by counting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
CHUNK = 64  # things of one commit; their places in it are the lower bits of a slot
MOST_WRITES = 240  # documents of one commit; each with a time that the server sets counts twice, of 500
MOST_BYTES = 6_000_000  # of one commit; Firestore takes 10 MiB


def portions(costs: Iterable[tuple[T, tuple[int, int]]]) -> Iterator[list[T]]:
    """Things in their order, as many at a time as one commit takes. costs: of each its documents, and their bytes."""
    portion: list[T] = []
    writes, size = 0, 0
    for thing, (more, heavier) in costs:
        full = len(portion) == CHUNK or writes + more > MOST_WRITES or size + heavier > MOST_BYTES
        if portion and full:
            yield portion
            portion, writes, size = [], 0, 0
        portion.append(thing)
        writes, size = writes + more, size + heavier
    if portion:
        yield portion
