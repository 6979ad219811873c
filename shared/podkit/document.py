"""What a pod is told by the cluster: a JSON document, and which start of it this is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.errors import Reject

Document = TypeVar("Document", bound=msgspec.Struct)


def read(kind: type[Document], environ: Mapping[str, str] = os.environ) -> Document:
    """The document whose path is in KUZNIA_POD. Raises Reject naming what is missing or wrong in it."""
    path = environ.get("KUZNIA_POD")
    if not path:
        raise Reject("KUZNIA_POD is not set: a pod is started by the cluster, with the path of its document")
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=kind)
    except OSError as error:
        raise Reject(f"the pod's document cannot be read: {error}") from error
    except msgspec.DecodeError as error:
        raise Reject(f"the pod's document {path}: {error}") from error


def attempt(environ: Mapping[str, str] = os.environ) -> int:
    """Which start under the same name this is, 1 for the first. Raises Reject."""
    text = environ.get("KUZNIA_ATTEMPT") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise Reject(f"KUZNIA_ATTEMPT is {text!r}; it should be a number from 1")
    return int(text)
