"""The key an engine is started with and the gateway calls it with: derived, so nobody has to pass it on."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from shared.errors import Reject

SECRET = "engine.secret"  # noqa: S105 - the name of the file, not what it holds
SECRET_BYTES = 32


def engine_key(home: Path, release: str) -> str:
    """64 hex digits: HMAC-SHA256 of the release's name under the installation's secret.

    The secret (`<home>/engine.secret`, 32 bytes, mode 0600) is made on first use, whole or not at all,
    whoever comes first. Raises Reject where the file is damaged or readable by others.
    """
    return hmac.new(_secret(home / SECRET), release.encode(), hashlib.sha256).hexdigest()


def _secret(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = _made(path)
    if len(content) != SECRET_BYTES:
        raise Reject(
            f"{path} holds {len(content)} bytes where {SECRET_BYTES} belong: delete it and start again, "
            "and every engine gets a new key"
        )
    if path.stat().st_mode & 0o077:
        raise Reject(f"{path} can be read by others: `chmod 600 {path}`")
    return content


def _made(path: Path) -> bytes:
    """Write it aside and link it into place: of two who try at once, both read the first one's."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, aside = tempfile.mkstemp(prefix=f".{SECRET}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _link(aside, path)
    finally:
        Path(aside).unlink()
    return path.read_bytes()


def _link(aside: str, path: Path) -> None:
    try:
        os.link(aside, path)
    except FileExistsError:
        return
