"""Secrets of this installation: files of mode 0600 under `<home>/secrets`, never in a record or an event.

A secret is rotated without a gap: the new one holds at once, the one before goes on holding until a moment.
"""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path

from shared.identity import workload_name


def webhook_secret(home: Path, repository: str) -> bytes:
    """The secret a repository's deliveries are signed with; empty where none is connected by that name."""
    return current(home, _webhook(repository))


def webhook_secrets(home: Path, repository: str, now: datetime) -> tuple[bytes, ...]:
    """All that hold now, the newest first."""
    return valid(home, _webhook(repository), now)


def ensure_webhook_secret(home: Path, repository: str, given: str = "") -> bytes:
    """Keep the given secret, or make one where there is none yet."""
    known = webhook_secret(home, repository)
    if known and not given:
        return known
    secret = (given or secrets.token_hex(32)).encode()
    keep(home, _webhook(repository), secret)
    return secret


def rotate_webhook_secret(home: Path, repository: str, until: datetime, given: str = "") -> bytes:
    """A new secret (the given one, or one made here); the one before holds until then."""
    secret = (given or secrets.token_hex(32)).encode()
    rotate(home, _webhook(repository), secret, until)
    return secret


def drop_old_webhook_secret(home: Path, repository: str) -> bool:
    """Let the one before hold no longer; False where there was none."""
    return drop_old(home, _webhook(repository))


def current(home: Path, name: str) -> bytes:
    """The secret of that name; empty where there is none."""
    path = _path(home, name)
    return path.read_bytes() if path.exists() else b""


def valid(home: Path, name: str, now: datetime) -> tuple[bytes, ...]:
    """The secret of that name, and the one before it where that still holds; empty where there is none."""
    newest = current(home, name)
    if not newest:
        return ()
    before = _old(home, name)
    if not before.exists():
        return (newest,)
    until, _, old = before.read_bytes().partition(b"\n")
    return (newest, old) if now < datetime.fromisoformat(until.decode()) else (newest,)


def keep(home: Path, name: str, secret: bytes) -> None:
    """Write a secret, whole and durably, in place of what was there."""
    _write(_path(home, name), secret)


def rotate(home: Path, name: str, secret: bytes, until: datetime) -> None:
    """Keep a new secret; the one before holds until then. A crash on the way leaves the one before in force."""
    before = current(home, name)
    if before and before != secret:
        _write(_old(home, name), until.isoformat().encode() + b"\n" + before)
    keep(home, name, secret)


def drop_old(home: Path, name: str) -> bool:
    """Let the one before hold no longer; False where there was none."""
    path = _old(home, name)
    known = path.exists()
    path.unlink(missing_ok=True)
    return known


def forget(home: Path, name: str) -> None:
    """Remove a secret with the one before it; absent is success."""
    drop_old(home, name)
    _path(home, name).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _webhook(repository: str) -> str:
    return f"webhook-{workload_name(repository)}"


def _path(home: Path, name: str) -> Path:
    return home / "secrets" / name


def _old(home: Path, name: str) -> Path:
    return home / "secrets" / f"{name}.old"
