"""An artifact store on some other machine: what all of them have in common, over the few calls each must know."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from shared.errors import Reject, Retry
from shared.local.cluster.disk import make_folders, naming_disk_faults, sync, sync_folder, temporary_file
from shared.ports.artifacts import Stored
from shared.storage import paths


class Transport(Protocol):
    """One bucket or repository. Every call raises Retry where the store cannot be had now; names are whole.

    digest: SHA-256 in hex, kept beside the object so that who fetches it can tell that it is whole.
    """

    def put(self, name: str, content: bytes, digest: str) -> None:
        """Whole or not at all, replacing what was there."""
        ...

    def put_new(self, name: str, content: bytes, digest: str) -> bool:
        """Whole, and only where nothing is; False where something is."""
        ...

    def put_file(self, name: str, source: Path, size: int, digest: str) -> None:
        """Whole or not at all, however large; in parts, and in parallel, where that is faster."""
        ...

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Content, and the digest that was kept (empty where none was); None where nothing is."""
        ...

    def get_file(self, name: str, target: Path) -> str | None:
        """Written into a file that is there and empty; the digest that was kept, or None where nothing is."""
        ...

    def names(self, prefix: str) -> Iterable[str]:
        """Names that begin so, in any order; at least all that lie below that folder."""
        ...

    def remove(self, prefix: str, names: Sequence[str]) -> None:
        """Remove these, which are all that lies below a folder, or the one file; absent is success."""
        ...

    def sweep(self, now: datetime) -> int:
        """Remove what killed processes began to put more than a day ago; how many. Of theirs alone."""
        ...


class RemoteArtifacts:
    """See `shared.ports.artifacts.Artifacts`. root: URL of the store. folder: prefix of all its names, or empty."""

    def __init__(self, transport: Transport, root: str, folder: str) -> None:
        self._transport = transport
        self._root = root.rstrip("/")
        self._folder = f"{folder.strip('/')}/" if folder.strip("/") else ""

    def write(self, path: str, content: bytes) -> Stored:
        """See `Artifacts.write`."""
        stored = _stored(path, content)
        with self._there():
            self._transport.put(self._name(path), content, _hex(stored))
        return stored

    def create(self, path: str, content: bytes) -> Stored:
        """See `Artifacts.create`."""
        stored = _stored(path, content)
        with self._there():
            fresh = self._transport.put_new(self._name(path), content, _hex(stored))
        if not fresh:
            found = self._transport.get(self._name(path))
            if found is None:
                raise Retry(f"artifact {path!r} was deleted while it was being created")
            if found[0] != content:
                raise Reject(f"artifact {path!r} exists already with other content; it is written once only")
        return stored

    def read(self, path: str) -> bytes:
        """See `Artifacts.read`. Raises Retry where what came is not whole."""
        found = self._transport.get(self._name(path))
        if found is None:
            raise _absent(path)
        content, kept = found
        _require_whole(path, hashlib.sha256(content).hexdigest(), kept)
        return content

    def upload(self, source: Path, path: str) -> Stored:
        """See `Artifacts.upload`."""
        name = self._name(path)
        if not source.is_file():
            raise Reject(f"{source} cannot be uploaded as {path!r}: it is no file")
        before = source.stat()
        digest = _digest(source)
        with self._there():
            self._transport.put_file(name, source, before.st_size, digest)
        after = source.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self._transport.remove(name, [name])
            raise Retry(f"{source} was being written while it was uploaded as {path!r}")
        return Stored(path=path, size=before.st_size, digest=f"sha256:{digest}")

    def download(self, path: str, target: Path) -> Stored:
        """See `Artifacts.download`. Raises Retry where what came is not whole."""
        name = self._name(path)
        with naming_disk_faults(target.parent):
            make_folders(target.parent)
            with temporary_file(target.parent) as (temporary, file):
                kept = self._transport.get_file(name, temporary)
                if kept is None:
                    raise _absent(path)
                digest = _digest(temporary)
                _require_whole(path, digest, kept)
                size = temporary.stat().st_size
                sync(file)
                temporary.replace(target)
            sync_folder(target.parent)
        return Stored(path=path, size=size, digest=f"sha256:{digest}")

    def list(self, prefix: str) -> Sequence[str]:
        """See `Artifacts.list`."""
        asked = paths.require_prefix(prefix)
        names = self._transport.names(self._folder + asked)
        found = (name[len(self._folder) :] for name in names)
        return sorted(path for path in found if paths.below(path, asked))

    def delete(self, prefix: str) -> None:
        """See `Artifacts.delete`."""
        asked = paths.require_deletable(prefix)
        self._transport.remove(self._folder + asked, [self._folder + path for path in self.list(asked)])

    def sweep(self, now: float) -> int:
        """Remove unfinished uploads older than a day, left by killed processes; how many. now: Unix seconds."""
        return self._transport.sweep(datetime.fromtimestamp(now, UTC))

    def uri(self, path: str) -> str:
        """`gs://…`, `s3://…`, `artifactory://…`."""
        return f"{self._root}/{quote(paths.require_path(path), safe='/@:+,=~')}"

    def readable(self) -> object:
        """The client, to read objects in parts with; see `shared.storage.reading.Readable`."""
        return self._transport

    def name_of(self, path: str) -> str:
        """The whole name of an object, as the client takes it. Raises Reject."""
        return self._name(path)

    def local(self, path: str) -> Path | None:
        """None: it lies elsewhere."""
        paths.require_path(path)
        return None

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Raises Retry where the store itself is absent: a write finds nothing else missing."""
        try:
            yield
        except FileNotFoundError as error:
            raise Retry(f"{self._root} is not there: is the bucket or repository made?") from error

    def _name(self, path: str) -> str:
        return self._folder + paths.require_path(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_whole(path: str, found: str, kept: str) -> None:
    if kept and found != kept:
        raise Retry(f"artifact {path!r} came as sha256:{found}, and sha256:{kept} was stored: it is damaged")


def _absent(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "no such artifact", path)


def _stored(path: str, content: bytes) -> Stored:
    return Stored(path=path, size=len(content), digest=f"sha256:{hashlib.sha256(content).hexdigest()}")


def _hex(stored: Stored) -> str:
    return stored.digest.removeprefix("sha256:")
