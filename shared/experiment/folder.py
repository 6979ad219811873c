"""An experiment folder on disk, as Git would list it. The only file here that reads what is not its own."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from events.parts import Folder, FolderFile
from shared.experiment.experiment import READ_TEXTS, TEXT_LIMIT, as_text, is_read

__all__ = ["READ_TEXTS", "TEXT_LIMIT", "as_text", "is_read", "read_directory"]

_IGNORED = frozenset({".git", "__pycache__"})
_CHUNK = 1 << 20


def read_directory(path: Path) -> Folder:
    """Lists every file under `path`, links unfollowed. Raises OSError where it cannot be read."""
    root = Path(path)
    if not root.is_dir():
        message = f"{root} is not a directory"
        raise NotADirectoryError(message)
    files = tuple(sorted(_entries(root, ""), key=lambda entry: entry.path))
    texts: dict[str, str] = {}
    for entry in files:
        if entry.kind == "file" and is_read(entry.path) and entry.size <= TEXT_LIMIT:
            text = as_text((root / entry.path).read_bytes())
            texts |= {} if text is None else {entry.path: text}
    return Folder(files=files, texts=texts)


def _entries(directory: Path, prefix: str) -> Iterator[FolderFile]:
    with os.scandir(directory) as found:
        entries = [entry for entry in found if entry.name not in _IGNORED]
    for entry in entries:
        path = prefix + entry.name
        if entry.is_symlink():
            yield FolderFile(path=path, size=entry.stat(follow_symlinks=False).st_size, kind="symlink")
        elif entry.is_dir():
            yield from _directory(Path(entry.path), path)
        elif stat.S_ISREG(entry.stat().st_mode):
            size = entry.stat().st_size
            yield FolderFile(path=path, size=size, digest=_blob_id(Path(entry.path), size))


def _directory(directory: Path, path: str) -> Iterator[FolderFile]:
    if (directory / ".git").exists():
        yield FolderFile(path=path, size=0, kind="submodule")
    else:
        yield from _entries(directory, f"{path}/")


def _blob_id(path: Path, size: int) -> str:
    """Git's id of the content: SHA-1 over a header and the bytes; it names, it does not protect."""
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
