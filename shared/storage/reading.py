"""One object of any store, read in parts: what a killed or cut-off reader has already is not fetched again."""

from __future__ import annotations

import base64
import hashlib
import importlib
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from shared.errors import Conflict, Reject, Retry
from shared.experiment.locations import Location
from shared.podkit.patience import Patience
from shared.storage.open import open_artifacts
from shared.storage.versions import Head

PART = 16 * 1024 * 1024  # bytes asked for at once
MOST_READINGS = 3
_BLOCK = 1 << 20


class Readable(Protocol):
    """What a store's client has to know for this; names are whole."""

    def head(self, name: str) -> Head | None:
        """What lies there now; None where nothing does. Raises Retry, Reject."""
        ...

    def part(self, name: str, head: Head, start: int, length: int) -> bytes:
        """So many bytes of exactly that version. Raises Conflict where it is another by now, Retry, Reject."""
        ...


class LocalFiles:
    """Files of this machine. roots: below one of them they lie, whatever links they are reached by."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = tuple(Path(os.path.realpath(root)) for root in roots)

    def head(self, name: str) -> Head | None:
        """See `Readable.head`. Raises Reject for what is no file, or is led out of the roots by a link."""
        try:
            return _head(name, self._real(name).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise Reject(f"{name} may not be read by this process: {error.strerror}") from error

    def part(self, name: str, head: Head, start: int, length: int) -> bytes:
        """See `Readable.part`."""
        try:
            opened = os.open(self._real(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise Conflict(name) from None
        except OSError as error:
            raise Retry(f"{name}: {error.strerror}") from error
        with os.fdopen(opened, "rb") as file:
            file.seek(start)
            content = file.read(length)
            if _head(name, os.fstat(file.fileno())) != head:
                raise Conflict(name)
        return content

    def _real(self, name: str) -> Path:
        path = Path(os.path.realpath(name))
        if not any(path.is_relative_to(root) for root in self._roots):
            raise Reject(f"{name} leads to {path}, which lies below no allowed root")
        return path


def open_readable(place: Location, roots: tuple[Path, ...] = ()) -> tuple[Readable, str]:
    """The client of a location's store, and the object's name for it. roots: of `file`. Raises Reject, Retry."""
    if place.scheme == "file":
        return LocalFiles(roots), place.path
    store: Any = open_artifacts(place.url.rpartition("/")[0])
    return store.readable(), store.name_of(place.path.rpartition("/")[2])


def bring(url: str, source: tuple[Readable, str], part: Path, check: Callable[[], None]) -> Head:
    """Write the object into `part`, going on where an earlier start ended.

    check: called between parts, may raise. Raises Reject (nothing there, no room), Retry once patience is at its end.
    """
    readable, name = source
    patience, damage = Patience(), ""
    for _ in range(MOST_READINGS):
        head = patience.insist(f"looking at {url}", partial(readable.head, name))
        if head is None:
            raise Reject(f"{url} is not there, or the account of this run may not see it")
        if not head.size:
            raise Reject(f"{url} is empty: put the rows in")
        have = _begun(part, head)
        _require_room(url, part, head.size - have)
        try:
            _copy(partial(_insist, patience, url, partial(readable.part, name, head)), part, head, check)
            damage = _damage(url, part, head)
        except Conflict:
            damage = f"{url} was changed while it was read"
        if not damage:
            sys.stdout.write(f"fetched {url} ({head.size / 1e6:.1f} MB)\n")
            return head
        sys.stdout.write(f"{damage}; it is read anew\n")
        forget(part)
    raise Retry(f"{damage}, {MOST_READINGS} times: write it once, then retry")


def forget(part: Path) -> None:
    """Throw away what was begun."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _insist(patience: Patience, url: str, ask: Callable[[int, int], bytes], start: int, length: int) -> bytes:
    def whole() -> bytes:
        content = ask(start, length)
        if len(content) != length:
            raise Retry(f"{url} was cut off at byte {start + len(content)}")
        return content

    return patience.insist(f"fetching {url}", whole)


def _copy(ask: Callable[[int, int], bytes], part: Path, head: Head, check: Callable[[], None]) -> None:
    with part.open("ab") as file:
        while (have := file.tell()) < head.size:
            check()
            file.write(ask(have, min(PART, head.size - have)))
            file.flush()
        os.fsync(file.fileno())


def _begun(part: Path, head: Head) -> int:
    """Bytes that are there of this version; what is of another one is thrown away."""
    note = _note(part)
    same = note.exists() and note.read_bytes() == msgspec.json.encode(head)
    have = part.stat().st_size if part.exists() else 0
    if same and have <= head.size:
        return have
    forget(part)
    part.parent.mkdir(parents=True, exist_ok=True)
    fresh = note.with_suffix(".fresh")
    fresh.write_bytes(msgspec.json.encode(head))
    fresh.replace(note)
    return 0


def _require_room(url: str, part: Path, needed: int) -> None:
    statistics = os.statvfs(part.parent)
    free = statistics.f_bavail * statistics.f_frsize
    if needed > free:
        raise Reject(
            f"{url} needs {needed / 1e9:.2f} GB more in {part.parent}, and {free / 1e9:.2f} GB are free: ask for"
            " more with resources.disk_gb, or make room"
        )


def _damage(url: str, part: Path, head: Head) -> str:
    for kind, said in head.checks.items():
        found = _checksum(kind, part)
        if found != said:
            return f"{url} came with {kind} {found}, and its store says {said}"
    return ""


def _checksum(kind: str, path: Path) -> str:
    with path.open("rb") as file:
        if kind != "crc32c":
            return hashlib.file_digest(file, partial(hashlib.new, kind, usedforsecurity=False)).hexdigest()
        checksum = importlib.import_module("google_crc32c").Checksum()
        while block := file.read(_BLOCK):
            checksum.update(block)
        return base64.b64encode(checksum.digest()).decode()


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.head")


def _head(name: str, found: os.stat_result) -> Head:
    if not stat.S_ISREG(found.st_mode):
        raise Reject(f"{name} is a folder or a device, and a file is wanted")
    return Head(size=found.st_size, version=f"{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}")
