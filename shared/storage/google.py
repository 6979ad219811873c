"""A bucket of Google Cloud Storage. Credentials are Application Default Credentials.

What is large goes up in parts beside each other, each resumable, which are then composed into one: until that
moment there is no object. Parts lie below `.unfinished`, under the first two folders of what they become, such as
`.unfinished/tenants/team-x/`: a tenant's account may write there and nowhere else. Those that a killed process left
are swept.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import requests
from google.api_core import exceptions as api
from google.api_core import retry as api_retry
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage import exceptions as media
from google.cloud.storage import transfer_manager
from google.cloud.storage.retry import DEFAULT_RETRY

from shared.errors import Conflict, Reject, Retry
from shared.storage.paths import RESERVED
from shared.storage.versions import Head, kept_digest

MEGABYTE = 1024 * 1024
LARGE = 64 * MEGABYTE  # from here on in parts
MOST_PARTS = 32  # what one compose takes
WORKERS = 8
SECONDS = 60.0
STALE = timedelta(days=1)
RIGHTS_DEPTH = 2  # folders by which rights are given, `tenants/<tenant>`; infra/terraform/storage.tf
_METADATA = "sha256"


class GoogleBucket:
    """See `shared.storage.remote.Transport`. large: bytes from which a file goes in parts."""

    def __init__(self, name: str, folder: str = "", large: int = LARGE) -> None:
        """Raises Retry where there are no credentials."""
        with _talking(name):
            self._client = storage.Client()
        self._bucket = self._client.bucket(name)
        self._folder = f"{folder.strip('/')}/".lstrip("/")
        self._aside = f"{self._folder}{RESERVED}/"
        self._large = large

    def put(self, name: str, content: bytes, digest: str) -> None:
        """See `Transport.put`."""
        with _talking(name):
            blob = self._blob(name, digest)
            blob.upload_from_string(content, checksum="crc32c", retry=_patient(), timeout=SECONDS)

    def put_new(self, name: str, content: bytes, digest: str) -> bool:
        """See `Transport.put_new`. By `if_generation_match=0`; a repeat that finds its own work is told False."""
        try:
            with _talking(name):
                self._blob(name, digest).upload_from_string(
                    content, checksum="crc32c", if_generation_match=0, retry=_patient(), timeout=SECONDS
                )
        except FileExistsError:
            return False
        return True

    def put_file(self, name: str, source: Path, size: int, digest: str) -> None:
        """See `Transport.put_file`."""
        if size >= self._large:
            self._put_parts(name, source, size, digest)
            return
        with _talking(name):
            self._blob(name, digest).upload_from_filename(
                str(source), checksum="crc32c", retry=_patient(), timeout=SECONDS
            )

    def get(self, name: str) -> tuple[bytes, str] | None:
        """See `Transport.get`. Its checksum (CRC32C) is compared by the client, in the one request."""
        try:
            with _talking(name):
                return self._bucket.blob(name).download_as_bytes(checksum="crc32c", timeout=SECONDS), ""
        except FileNotFoundError:
            return None

    def get_file(self, name: str, target: Path) -> str | None:
        """See `Transport.get_file`."""
        try:
            with _talking(name):
                blob = self._bucket.get_blob(name, timeout=SECONDS)
                if blob is None:
                    return None
                if blob.size >= self._large:
                    transfer_manager.download_chunks_concurrently(
                        blob,
                        str(target),
                        download_kwargs={"timeout": SECONDS},
                        max_workers=WORKERS,
                        worker_type=transfer_manager.THREAD,
                    )
                else:
                    blob.download_to_filename(str(target), checksum="crc32c", timeout=SECONDS)
                return str((blob.metadata or {}).get(_METADATA, ""))
        except FileNotFoundError:
            return None

    def head(self, name: str) -> Head | None:
        """See `Readable.head`."""
        try:
            with _talking(name):
                blob = self._bucket.get_blob(name, timeout=SECONDS)
        except FileNotFoundError:
            return None
        if blob is None:
            return None
        crc32c = {"crc32c": str(blob.crc32c)} if blob.crc32c else {}
        return Head(
            size=int(blob.size), version=str(blob.generation), checks={**crc32c, **kept_digest(blob.metadata)}
        )

    def part(self, name: str, head: Head, start: int, length: int) -> bytes:
        """See `Readable.part`. By the generation, which a bucket with versions still has after it was replaced."""
        try:
            with _talking(name):
                content: bytes = self._bucket.blob(name, generation=int(head.version)).download_as_bytes(
                    start=start,
                    end=start + length - 1,
                    raw_download=True,
                    checksum=None,
                    timeout=SECONDS,
                )
                return content
        except (FileNotFoundError, FileExistsError) as error:
            raise Conflict(name) from error

    def names(self, prefix: str) -> Iterable[str]:
        """See `Transport.names`."""
        with _talking(prefix):
            found = self._client.list_blobs(self._bucket, prefix=prefix, timeout=SECONDS)
            return [blob.name for blob in found if not blob.name.startswith(self._aside)]

    def remove(self, prefix: str, names: Sequence[str]) -> None:  # noqa: ARG002 - other stores know folders
        """See `Transport.remove`."""
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self._remove, names))

    def sweep(self, now: datetime) -> int:
        """Remove parts older than a day, left by killed processes; how many."""
        with _talking(self._aside):
            found = list(self._client.list_blobs(self._bucket, prefix=self._aside, timeout=SECONDS))
        stale = [blob.name for blob in found if blob.updated and blob.updated < now - STALE]
        self.remove(self._aside, stale)
        return len(stale)

    def _put_parts(self, name: str, source: Path, size: int, digest: str) -> None:
        length = max(self._large // 2, -(-size // MOST_PARTS))
        tops = name.removeprefix(self._folder).split("/")[:-1][:RIGHTS_DEPTH]
        prefix = "/".join([self._aside.rstrip("/"), *tops, uuid.uuid4().hex, ""])
        parts = {f"{prefix}{start:016}": start for start in range(0, size, length)}
        try:
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(lambda part: self._put_part(part, source, parts[part], length), parts))
            with _talking(name):
                whole = self._blob(name, digest)
                whole.compose([self._bucket.blob(part) for part in parts], retry=_patient(), timeout=SECONDS)
            if whole.crc32c and whole.crc32c != _crc32c(source):
                self._remove(name)
                raise Retry(f"{name} arrived damaged (CRC32C {whole.crc32c}), and was removed")
        finally:
            self.remove(prefix, list(parts))

    def _put_part(self, part: str, source: Path, start: int, length: int) -> None:
        with source.open("rb") as file, _talking(part):
            file.seek(start)
            size = min(length, source.stat().st_size - start)
            self._bucket.blob(part).upload_from_file(
                file, size=size, checksum="crc32c", retry=_patient(), timeout=SECONDS
            )

    def _blob(self, name: str, digest: str) -> Any:
        blob = self._bucket.blob(name)
        blob.metadata = {_METADATA: digest}
        return blob

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError), _talking(name):
            self._bucket.blob(name).delete(retry=_patient(), timeout=SECONDS)


def _crc32c(path: Path) -> str:
    checksum = google_crc32c.Checksum()
    with path.open("rb") as file:
        while chunk := file.read(MEGABYTE):
            checksum.update(chunk)
    return base64.b64encode(checksum.digest()).decode()


@contextmanager
def _talking(what: str) -> Iterator[None]:
    """Raises Retry, Reject; FileNotFoundError for 404, FileExistsError where a precondition did not hold."""
    try:
        yield
    except api.NotFound as error:
        raise FileNotFoundError(what) from error
    except api.PreconditionFailed as error:
        raise FileExistsError(what) from error
    except (api.Forbidden, api.Unauthorized, auth.GoogleAuthError) as error:
        hint = "is there a credential, and may it read and write this bucket? infra/terraform grants it"
        raise Retry(f"{what}: {error} ({hint})") from error
    except api.BadRequest as error:
        raise Reject(f"{what}: {error}") from error
    except (
        api.GoogleAPIError,
        media.InvalidResponse,
        media.DataCorruption,
        requests.RequestException,
    ) as error:
        raise Retry(f"{what}: {error}") from error


def _patient() -> api_retry.Retry:
    """The client's own policy of what is tried again, for as long as we wait."""
    return DEFAULT_RETRY.with_timeout(SECONDS)
