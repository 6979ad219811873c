"""One place that knows which store a URL names; each store's client is imported only where it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from urllib.parse import SplitResult, unquote, urlsplit

from shared.errors import Reject
from shared.ports.artifacts import Artifacts

EXAMPLES = (
    "file:///var/lib/kuznia/artifacts",
    "gs://bucket/folder",
    "s3://bucket/folder",
    "artifactory://example.jfrog.io/artifactory/repository/folder",
)


def open_artifacts(url: str) -> Artifacts:
    """The store of a URL such as `gs://bucket/folder`. Raises Reject for one that names none, Retry."""
    parts = urlsplit(url)
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise Reject(f"{url!r} names no artifact store; it should be like {', '.join(EXAMPLES)}")
    return opener(parts, url.rstrip("/"))


def _directory(parts: SplitResult, url: str) -> Artifacts:
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise Reject(f"{url!r} should have three slashes and a whole path, as in {EXAMPLES[0]}")
    directory: Artifacts = importlib.import_module("shared.local.artifacts").DirectoryArtifacts(
        Path(unquote(parts.path))
    )
    return directory


def _google(parts: SplitResult, url: str) -> Artifacts:
    module = _client(url, "shared.storage.google", "google")
    folder = unquote(parts.path).strip("/")
    return _remote(module.GoogleBucket(_bucket(parts, url), folder), url, folder)


def _s3(parts: SplitResult, url: str) -> Artifacts:
    module = _client(url, "shared.storage.s3", "s3")
    folder = unquote(parts.path).strip("/")
    return _remote(module.S3Bucket(_bucket(parts, url), folder=folder), url, folder)


def _artifactory(parts: SplitResult, url: str) -> Artifacts:
    """`artifactory+http` for a server without TLS. What stands before the repository ends with `artifactory`."""
    from_root = [unquote(segment) for segment in parts.path.split("/") if segment]
    start = from_root.index("artifactory") + 1 if "artifactory" in from_root else 0
    if not parts.netloc or len(from_root) <= start:
        raise Reject(f"{url!r} names no repository; it should be like {EXAMPLES[3]}")
    scheme = "http" if parts.scheme.endswith("+http") else "https"
    base = "/".join([f"{scheme}://{parts.netloc}", *from_root[:start]])
    module = importlib.import_module("shared.storage.artifactory")
    repository = module.ArtifactoryRepository(base, from_root[start])
    return _remote(repository, url, "/".join(from_root[start + 1 :]))


def _remote(transport: object, url: str, folder: str) -> Artifacts:
    artifacts: Artifacts = importlib.import_module("shared.storage.remote").RemoteArtifacts(
        transport, url, folder
    )
    return artifacts


def _bucket(parts: SplitResult, url: str) -> str:
    if not parts.netloc:
        raise Reject(f"{url!r} names no bucket")
    return parts.netloc


def _client(url: str, module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Reject(f"{url} needs {error.name}: pip install 'kuznia[{extra}]'") from error


_OPENERS: Mapping[str, Callable[[SplitResult, str], Artifacts]] = {
    "file": _directory,
    "gs": _google,
    "s3": _s3,
    "artifactory": _artifactory,
    "artifactory+http": _artifactory,
}
