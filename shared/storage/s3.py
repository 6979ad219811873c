"""A bucket of S3, or of what speaks its protocol. Credentials and endpoint are boto3's own ways.

What is large goes up in parts beside each other; a part upload that fails is aborted, one that a killed process
left is swept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from shared.errors import Conflict, Reject, Retry
from shared.storage.versions import Head, kept_digest

MEGABYTE = 1024 * 1024
LARGE = 64 * MEGABYTE  # from here on in parts
PART = 32 * MEGABYTE
WORKERS = 8
MOST_REMOVED = 1000  # by one request
STALE = timedelta(days=1)
_METADATA = "sha256"
_ABSENT = frozenset({"404", "NoSuchKey", "NotFound"})
_THERE = frozenset({"412", "PreconditionFailed"})
_REFUSED = frozenset({"400", "InvalidArgument", "KeyTooLongError", "InvalidBucketName", "EntityTooLarge"})
_RIGHTS = frozenset(
    {"401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
)


class S3Bucket:
    """See `shared.storage.remote.Transport`."""

    def __init__(self, name: str, large: int = LARGE, part: int = PART, folder: str = "") -> None:
        self._client = boto3.client("s3")
        self._bucket = name
        self._folder = f"{folder.strip('/')}/".lstrip("/")
        self._transfer = TransferConfig(
            multipart_threshold=large, multipart_chunksize=part, max_concurrency=WORKERS
        )

    def put(self, name: str, content: bytes, digest: str) -> None:
        """See `Transport.put`."""
        with _talking(name):
            self._put(name, content, digest)

    def put_new(self, name: str, content: bytes, digest: str) -> bool:
        """See `Transport.put_new`. By If-None-Match."""
        try:
            with _talking(name):
                self._put(name, content, digest, IfNoneMatch="*")
        except FileExistsError:
            return False
        return True

    def put_file(self, name: str, source: Path, size: int, digest: str) -> None:  # noqa: ARG002 - boto3 looks itself
        """See `Transport.put_file`."""
        more = {"Metadata": {_METADATA: digest}, "ChecksumAlgorithm": "SHA256"}
        with _talking(name):
            self._client.upload_file(str(source), self._bucket, name, ExtraArgs=more, Config=self._transfer)

    def get(self, name: str) -> tuple[bytes, str] | None:
        """See `Transport.get`."""
        try:
            with _talking(name):
                found = self._client.get_object(Bucket=self._bucket, Key=name)
                with found["Body"] as body:
                    return body.read(), found["Metadata"].get(_METADATA, "")
        except FileNotFoundError:
            return None

    def get_file(self, name: str, target: Path) -> str | None:
        """See `Transport.get_file`."""
        try:
            with _talking(name):
                head = self._client.head_object(Bucket=self._bucket, Key=name)
                with target.open("wb") as file:
                    self._client.download_fileobj(self._bucket, name, file, Config=self._transfer)
                return str(head["Metadata"].get(_METADATA, ""))
        except FileNotFoundError:
            return None

    def head(self, name: str) -> Head | None:
        """See `Readable.head`. An ETag is an MD5 where it has no `-`, and no key of others encrypts."""
        try:
            with _talking(name):
                found = self._client.head_object(Bucket=self._bucket, Key=name)
        except FileNotFoundError:
            return None
        tag = str(found["ETag"]).strip('"')
        plain = "-" not in tag and found.get("ServerSideEncryption") in (None, "AES256")
        plain = plain and "SSECustomerAlgorithm" not in found
        checks = {**({"md5": tag} if plain else {}), **kept_digest(found["Metadata"])}
        return Head(size=int(found["ContentLength"]), version=str(found["ETag"]), checks=checks)

    def part(self, name: str, head: Head, start: int, length: int) -> bytes:
        """See `Readable.part`. By If-Match."""
        span = f"bytes={start}-{start + length - 1}"
        try:
            with _talking(name):
                found = self._client.get_object(
                    Bucket=self._bucket, Key=name, Range=span, IfMatch=head.version
                )
                with found["Body"] as body:
                    content: bytes = body.read()
        except (FileNotFoundError, FileExistsError) as error:
            raise Conflict(name) from error
        if found["ETag"] != head.version:
            raise Conflict(name)
        return content

    def names(self, prefix: str) -> Iterable[str]:
        """See `Transport.names`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with _talking(prefix):
            return [found["Key"] for page in pages for found in page.get("Contents", ())]

    def remove(self, prefix: str, names: Sequence[str]) -> None:
        """See `Transport.remove`."""
        for start in range(0, len(names), MOST_REMOVED):
            keys = [{"Key": name} for name in names[start : start + MOST_REMOVED]]
            with _talking(prefix):
                done = self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True}
                )
            if done.get("Errors"):
                raise Retry(f"{prefix}: not all could be removed: {done['Errors'][0]}")

    def sweep(self, now: datetime) -> int:
        """Abort part uploads into our folder older than a day, left by killed processes; how many."""
        lister = self._client.get_paginator("list_multipart_uploads")
        pages = lister.paginate(Bucket=self._bucket, Prefix=self._folder)
        with _talking("part uploads"):
            found = [upload for page in pages for upload in page.get("Uploads", ())]
            stale = [upload for upload in found if upload["Initiated"] < now - STALE]
            for upload in stale:
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                )
        return len(stale)

    def _put(self, name: str, content: bytes, digest: str, **more: Any) -> None:
        self._client.put_object(
            Bucket=self._bucket,
            Key=name,
            Body=content,
            Metadata={_METADATA: digest},
            ChecksumAlgorithm="SHA256",
            **more,
        )


@contextmanager
def _talking(what: str) -> Iterator[None]:
    """Raises Retry, Reject; FileNotFoundError for 404, FileExistsError where a precondition did not hold."""
    try:
        yield
    except ClientError as error:
        raise _word(what, error, error.response["Error"]["Code"]) from error
    except NoCredentialsError as error:
        raise Retry(f"{what}: no AWS credentials: a role, AWS_PROFILE, or AWS_ACCESS_KEY_ID") from error
    except (BotoCoreError, Boto3Error) as error:
        raise Retry(f"{what}: {error}") from error


def _word(what: str, error: ClientError, code: str) -> Exception:
    if code in _ABSENT:
        return FileNotFoundError(what)
    if code in _THERE:
        return FileExistsError(what)
    if code in _REFUSED:
        return Reject(f"{what}: {error}")
    hint = " (may these credentials read and write this bucket?)" if code in _RIGHTS else ""
    return Retry(f"{what}: {error}{hint}")
