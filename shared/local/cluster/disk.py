"""Writing to the disk so that it lasts, and saying in words when it cannot."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shared.errors import Reject, Retry

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file by a synced one; a reader sees the old or the new. Raises Retry where the disk is full."""
    with naming_disk_faults(path.parent), temporary_file(path.parent) as (temporary, file):
        file.write(content)
        sync(file)
        temporary.replace(path)
        sync_folder(path.parent)


def sync(file: IO[bytes]) -> None:
    """Put on disk what was written."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put a folder's names on disk: a rename lasts only after this."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, each one's name synced."""
    if folder.is_dir():
        return
    make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def naming_disk_faults(folder: Path) -> Iterator[None]:
    """Turn a full disk, an exhausted quota, a too long name into words: which disk, and how to mend it."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Retry(_full(folder, error)) from error
        if error.errno == errno.ENAMETOOLONG:
            raise Reject(f"a name is too long for the disk below {folder}: {error.filename}") from error
        raise


def _full(folder: Path, error: OSError) -> str:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    while not place.is_mount():
        place = place.parent
    why = "the quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
    return (
        f"{why}: {folder} lies on the disk mounted at {place}, which has {free} bytes free; "
        "make room there, or set KUZNIA_HOME to a folder on a larger disk"
    )


@contextmanager
def temporary_file(folder: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A new file in the folder, gone again at the end unless it was renamed."""
    path = folder / f".{uuid.uuid4().hex}.new"
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(opened, "wb") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)
