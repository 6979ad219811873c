"""One place that knows which store a URL names; each store's client is imported only where it is used."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.errors import Reject
from shared.local.artifacts import DirectoryArtifacts
from shared.ports.artifacts import Artifacts


def open_artifacts(url: str) -> Artifacts:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return DirectoryArtifacts(Path(unquote(parts.path)))
    raise Reject("x")
