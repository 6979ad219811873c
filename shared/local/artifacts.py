"""The artifact store as a folder: each file is written aside, synced, and renamed into its place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from shared.errors import Reject, Retry
from shared.local.cluster.disk import make_folders, naming_disk_faults, sync, sync_folder, temporary_file
from shared.ports.artifacts import Stored

UNFINISHED = ".unfinished"  # below the root, so that a rename into place never leaves the file system
_CHUNK = 1024 * 1024
_STALE_SECONDS = 24 * 3600
_PLACING_TRIES = 5
_LONGEST_PATH = 1024  # bytes; what an object store takes, so that a path is good in every adapter
_LONGEST_NAME = 255


class DirectoryArtifacts:
    """Artifacts below a folder. Several processes may use one root at the same time."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._aside = self._root / UNFINISHED

    def write(self, path: str, content: bytes) -> Stored:
        """Write a small file, whole, replacing what was there. Raises Retry (disk full), Reject (bad path)."""
        target = self._target(path)
        with naming_disk_faults(self._root), self._unfinished() as (temporary, file):
            file.write(content)
            sync(file)
            self._place(path, temporary, target, replace=True)
        return _stored(path, content)

    def create(self, path: str, content: bytes) -> Stored:
        """Write only if absent. The same content again is success; other content raises Reject."""
        target = self._target(path)
        with naming_disk_faults(self._root), self._unfinished() as (temporary, file):
            file.write(content)
            sync(file)
            try:
                self._place(path, temporary, target, replace=False)
            except FileExistsError:
                self._require_same(path, content)
        return _stored(path, content)

    def read(self, path: str) -> bytes:
        """The content. Raises FileNotFoundError."""
        return self._existing(path).read_bytes()

    def upload(self, source: Path, path: str) -> Stored:
        """Copy a file into the store, whole, hashing on the way. Raises Retry, Reject."""
        target = self._target(path)
        if not source.is_file():
            raise Reject(f"{source} cannot be uploaded as {path!r}: it is no file")
        with (
            naming_disk_faults(self._root),
            source.open("rb") as reader,
            self._unfinished() as (temporary, file),
        ):
            before = os.fstat(reader.fileno())
            size, digest = _copy(reader, file)
            after = os.fstat(reader.fileno())
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise Retry(f"{source} was being written while it was uploaded as {path!r}")
            sync(file)
            self._place(path, temporary, target, replace=True)
        return Stored(path=path, size=size, digest=digest)

    def download(self, path: str, target: Path) -> Stored:
        """Copy a file out of the store, making parent folders. Raises FileNotFoundError, Retry."""
        source = self._existing(path)
        with naming_disk_faults(target.parent):
            make_folders(target.parent)
            with source.open("rb") as reader, temporary_file(target.parent) as (temporary, file):
                size, digest = _copy(reader, file)
                sync(file)
                temporary.replace(target)
            sync_folder(target.parent)
        return Stored(path=path, size=size, digest=digest)

    def list(self, prefix: str) -> Sequence[str]:
        """Paths below a folder, or the one file of that path, sorted. An empty prefix is the whole store."""
        start = self._prefix(prefix)
        if start.is_file():
            return [start.relative_to(self._root).as_posix()]
        return sorted(found.relative_to(self._root).as_posix() for found in self._files(start))

    def delete(self, prefix: str) -> None:
        """Remove the file or the folder of that path; absent is success. Raises Reject for an empty prefix."""
        if not prefix.strip("/"):
            raise Reject("an empty prefix would delete the whole store: name a folder or a file")
        target = self._prefix(prefix)
        grave = self._aside / uuid.uuid4().hex
        with naming_disk_faults(self._root):
            make_folders(self._aside)
            try:
                target.rename(grave)  # first out of sight as a whole, then removed file by file
            except (FileNotFoundError, NotADirectoryError):
                return
            sync_folder(target.parent)
        _remove(grave)
        self._prune(target.parent)

    def uri(self, path: str) -> str:
        """`file:///…`."""
        return self._target(path).as_uri()

    def local(self, path: str) -> Path | None:
        """Where the file or folder lies, or None where there is none."""
        target = self._target(path)
        return target if target.exists() else None

    def sweep(self, now: float) -> int:
        """Remove unfinished writes older than a day, left by killed processes. now: Unix seconds."""
        if not self._aside.is_dir():
            return 0
        stale = [left for left in self._aside.iterdir() if _modified(left) < now - _STALE_SECONDS]
        for left in stale:
            _remove(left)
        return len(stale)

    def _target(self, path: str) -> Path:
        """The place of a store path. Raises Reject where the path is bad or leads out of the store."""
        segments = path.split("/")
        fault = _fault(path, segments)
        if fault:
            raise Reject(
                f"artifact path {path!r} {fault}; use relative segments such as 'runs/r-1/config.yaml'"
            )
        target = self._root.joinpath(*segments)
        if not Path(os.path.realpath(target)).is_relative_to(self._root):
            raise Reject(f"artifact path {path!r} leads out of {self._root} through a symbolic link")
        return target

    def _prefix(self, prefix: str) -> Path:
        trimmed = prefix.removesuffix("/")
        return self._target(trimmed) if trimmed else self._root

    def _existing(self, path: str) -> Path:
        target = self._target(path)
        if not target.is_file():
            raise FileNotFoundError(errno.ENOENT, "no such artifact", path)
        return target

    def _require_same(self, path: str, content: bytes) -> None:
        try:
            found = self.read(path)
        except FileNotFoundError:
            raise Retry(f"artifact {path!r} was deleted while it was being created") from None
        if found != content:
            raise Reject(f"artifact {path!r} exists already with other content; it is written once only")

    @contextmanager
    def _unfinished(self) -> Iterator[tuple[Path, IO[bytes]]]:
        make_folders(self._aside)
        with temporary_file(self._aside) as opened:
            yield opened

    def _place(self, path: str, temporary: Path, target: Path, *, replace: bool) -> None:
        """Move a finished file into its place. Raises FileExistsError if it may not replace what is there."""
        for left in reversed(range(_PLACING_TRIES)):
            try:
                _move(temporary, target, replace=replace)
                break
            except (IsADirectoryError, NotADirectoryError):
                raise Reject(
                    f"artifact path {path!r} is a file in one place and a folder in another"
                ) from None
            except FileNotFoundError:  # a delete beside us pruned the folder that we had just made
                if not left:
                    raise
        sync_folder(target.parent)

    def _files(self, start: Path) -> Iterator[Path]:
        for folder, folders, names in os.walk(start):
            if Path(folder) == self._root and UNFINISHED in folders:
                folders.remove(UNFINISHED)
            yield from (found for name in names if _is_plain(found := Path(folder, name)))

    def _prune(self, folder: Path) -> None:
        """Remove folders that a delete left empty, so that they never stand in the way of a file."""
        with suppress(OSError):
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent


def _fault(path: str, segments: Sequence[str]) -> str:
    if path.startswith("/"):
        return "is absolute"
    if "" in segments:
        return "has an empty segment"
    if ".." in segments or "." in segments:
        return "has a segment '.' or '..'"
    if not path.isprintable():
        return "has characters that cannot be printed"
    if (
        len(path.encode()) > _LONGEST_PATH
        or max(len(segment.encode()) for segment in segments) > _LONGEST_NAME
    ):
        return f"is longer than {_LONGEST_PATH} bytes, or {_LONGEST_NAME} in one segment"
    return (
        f"begins with {UNFINISHED!r}, which the store keeps for itself" if segments[0] == UNFINISHED else ""
    )


def _move(temporary: Path, target: Path, *, replace: bool) -> None:
    try:
        make_folders(target.parent)
    except FileExistsError as error:
        raise NotADirectoryError(
            errno.ENOTDIR, "a file lies where a folder should be", error.filename
        ) from error
    if replace:
        temporary.replace(target)
    elif target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder lies where a file should be", str(target))
    else:
        os.link(temporary, target)


def _copy(reader: IO[bytes], writer: IO[bytes]) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    while chunk := reader.read(_CHUNK):
        writer.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return size, f"sha256:{digest.hexdigest()}"


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _stored(path: str, content: bytes) -> Stored:
    return Stored(path=path, size=len(content), digest=f"sha256:{hashlib.sha256(content).hexdigest()}")


def _modified(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
