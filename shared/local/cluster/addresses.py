"""Ports for servers: found before the start, and checked to be answered by the server that was started."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
# Below the range that Linux gives to outgoing connections, which could take a port before its server binds it.
_FIRST, _COUNT = 20_000, 12_000
_LISTEN = "0A"


def choose(seed: str, taken: Iterable[str]) -> str:
    """`host:port` that is free now and not among the taken; the same seed tries the same ports first.

    Raises OSError (EADDRINUSE) where there is none.
    """
    held = set(taken)
    offset = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4])
    for step in range(_COUNT):
        address = f"{HOST}:{_FIRST + (offset + step) % _COUNT}"
        if address not in held and not in_use(address):
            return address
    raise OSError(errno.EADDRINUSE, f"no free port between {_FIRST} and {_FIRST + _COUNT} on {HOST}")


def in_use(address: str) -> bool:
    """Whether somebody listens at `host:port` now."""
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError:
            return True
    return False


def is_a_strangers(address: str, pids: Iterable[int]) -> bool:
    """Whether a process other than these listens there, as far as the kernel tells."""
    sockets = _listening(int(address.rsplit(":", 1)[1]))
    return bool(sockets) and not any(sockets & _open(pid) for pid in pids)


def _listening(port: int) -> set[str]:
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            rows = [line.split() for line in Path(table).read_text(encoding="ascii").splitlines()[1:]]
            found |= {
                row[9] for row in rows if row[3] == _LISTEN and int(row[1].rsplit(":", 1)[1], 16) == port
            }
    return {f"socket:[{inode}]" for inode in found}


def _open(pid: int) -> set[str]:
    links: set[str] = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                links.add(os.readlink(entry))  # noqa: PTH115 - the target is no path
    return links
