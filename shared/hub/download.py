"""One file of a hub, resumed where an earlier try ended, and never taken unless its checksum is the hub's."""

from __future__ import annotations

import hashlib
import sys
from http.client import HTTPException
from pathlib import Path
from typing import Any

from shared.errors import Reject, Retry
from shared.hub.client import Hub, RemoteFile
from shared.podkit.patience import Patience

BLOCK = 1 << 20
MOST_DAMAGED = 2


class Damaged(Retry):
    """All bytes came, and they are others than the hub said."""


def fetch(hub: Hub, model: tuple[str, str], wanted: RemoteFile, target: Path, patience: Patience) -> None:
    """Write the file. model: name, commit. As long as tries bring it forward, they do not count.

    Raises Reject (no such file, no right, damaged twice), Retry once patience is at its end, OSError (disk).
    """
    part = target.with_name(f"{target.name}.part")
    damaged = 0
    while True:
        before = _size(part)
        try:
            patience.insist(f"fetching {wanted.path}", lambda: _attempt(hub, model, wanted, part))
        except Damaged as error:
            damaged += 1
            if damaged == MOST_DAMAGED:
                raise Reject(f"{error}; a proxy or mirror on the way may alter it") from error
        except Retry:
            if _size(part) <= before:
                raise
        else:
            part.replace(target)
            return


def _attempt(hub: Hub, model: tuple[str, str], wanted: RemoteFile, part: Path) -> None:
    have = _size(part)
    told = wanted
    if have != wanted.size or not have:
        try:
            told = _receive(hub, model, wanted, part, have)
        except EOFError:
            part.unlink(missing_ok=True)
            raise Retry(
                f"{wanted.path}: what was there is longer than the file, and is fetched anew"
            ) from None
    _require_whole(part, told)


def _receive(hub: Hub, model: tuple[str, str], wanted: RemoteFile, part: Path, have: int) -> RemoteFile:
    """What is known of the whole file: from the list, completed by the answer's headers."""
    with hub.file(*model, wanted.path, have) as answer:
        told = wanted if wanted.sha256 or wanted.git_sha1 else answer.told
        with part.open("ab" if answer.start else "wb", buffering=0) as file:
            _copy(answer.body, file, wanted.path)
    size = told.size if told.size >= 0 else answer.told.size
    return RemoteFile(path=told.path, size=size, sha256=told.sha256, git_sha1=told.git_sha1)


def _copy(source: Any, target: Any, path: str) -> None:
    while True:
        try:
            block = source.read1(BLOCK)  # what is there: a kill loses none of it
        except (OSError, HTTPException) as error:
            raise Retry(f"{path} was cut off: {error}") from error
        if not block:
            return
        target.write(block)


def _require_whole(part: Path, told: RemoteFile) -> None:
    size = _size(part)
    if 0 <= size < told.size:
        raise Retry(f"{told.path} was cut off at {size} of {told.size} bytes")
    found = _digests(part, size)
    fault = f"{size} bytes instead of {told.size}" if told.size not in (-1, size) else ""
    for kind, said in (("SHA-256", told.sha256), ("Git id", told.git_sha1)):
        if said and found[kind] != said:
            fault = f"{kind} {found[kind]} instead of {said}"
    if fault:
        part.unlink()
        raise Damaged(f"{told.path} came with {fault}, and was thrown away")
    sys.stdout.write(f"fetched {told.path} ({size / 1e6:.1f} MB)\n")


def _digests(path: Path, size: int) -> dict[str, str]:
    """By SHA-256, and as Git names a blob: SHA-1 over `blob <size>`, a zero byte, and the content."""
    plain, git = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            plain.update(block)
            git.update(block)
    return {"SHA-256": plain.hexdigest(), "Git id": git.hexdigest()}


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
