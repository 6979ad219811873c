"""Secrets of this installation: files of mode 0600 under `<home>/secrets`, never in a record or an event."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from shared.identity import workload_name


def webhook_secret(home: Path, repository: str) -> bytes:
    """The secret a repository's deliveries are signed with; empty where none is connected by that name."""
    path = _path(home, repository)
    return path.read_bytes() if path.exists() else b""


def ensure_webhook_secret(home: Path, repository: str, given: str = "") -> bytes:
    """Keep the given secret, or make one where there is none yet."""
    path = _path(home, repository)
    if not given and path.exists():
        return path.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = (given or secrets.token_hex(32)).encode()
    temporary = path.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    return secret


def _path(home: Path, repository: str) -> Path:
    return home / "secrets" / f"webhook-{workload_name(repository)}"
