"""The warm trainer, from the control plane's side: start it, and ask it for processes.

Importing torch and LLaMA-Factory takes ten seconds; a fork of a process that has done so takes none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared.forge.environment import Trainer, environment
from shared.settings import Settings

INSIDE = Path(__file__).resolve().parent / "inside"
MAX_SOCKET_PATH = 100  # Linux takes 108 bytes, macOS 104
PATIENCE_SECONDS = 90  # a server that is still importing answers late, yet sooner than a cold start would


class WarmServer:
    """A warm trainer that we own: it retires when we stop it or die."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def alive(self) -> bool:
        """Whether it runs; it does not where another one already serves the same home."""
        return self._process.poll() is None

    def retire(self) -> None:
        """No more requests; it leaves after its last child, however long that takes."""
        assert self._process.stdin
        self._process.stdin.close()

    def stop(self, timeout: float = 10) -> None:
        """Retire it, and wait for no longer than `timeout` s; then it is killed, and its children with it."""
        self.retire()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children die with it
            self._process.wait()


def launch(settings: Settings, trainer: Trainer) -> WarmServer | None:
    """Start it, log in `warm.log`; requests may come at once, and wait until it has imported everything.

    None where the settings want none, where another one serves this home, or where torch does not fork well
    (all but Linux).
    """
    if not settings.warm or sys.platform != "linux":
        return None
    settings.home.mkdir(parents=True, exist_ok=True)
    lock = os.open(settings.home / "warm.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _listen(socket_path(settings.home)) as listener, (settings.home / "warm.log").open("ab") as log:
            return WarmServer(_spawn(trainer, log.fileno(), listener.fileno(), lock))
    except BlockingIOError:
        return None
    finally:
        os.close(lock)  # the server holds its own copy


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # of a dead one: we hold the lock
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener


def _spawn(trainer: Trainer, log: int, *inherited: int) -> subprocess.Popen[bytes]:
    # One thread each: a pool of threads that exists before the fork is a broken pool after it.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(trainer.python), str(INSIDE / "warm_server.py"), *(str(number) for number in inherited)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment(trainer) | threads,
        start_new_session=True,
        pass_fds=inherited,
    )


def socket_path(home: Path) -> Path:
    """`warm.sock` in the home, or where that is too long for a socket, in a private folder of this user."""
    path = home.absolute() / "warm.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    private = Path(os.environ.get("XDG_RUNTIME_DIR") or f"{tempfile.gettempdir()}/kuznia-{os.getuid()}")
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise PermissionError(f"{private} belongs to another user, so no socket can be put there; remove it")
    return private / f"kuznia-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def ask(home: Path, request: dict[str, Any], log: int) -> tuple[int, socket.socket] | None:
    """A child that runs `request` = {argv, env, cwd}, writing to the descriptor `log`: its pid, and the line
    to its server. None where no server answers, or it cannot take this request.
    """
    connection = _connect(socket_path(home))
    if connection is None:
        return None
    try:
        socket.send_fds(connection, [json.dumps(request).encode()], [log, log])
        answer = receive(connection, PATIENCE_SECONDS) or {}
    except OSError:
        answer = {}
    if "pid" not in answer:
        connection.close()
        return None
    return int(answer["pid"]), connection


def receive(connection: socket.socket, timeout: float | None) -> dict[str, Any] | None:
    """The server's next word within `timeout` s (None: for ever), else None. Raises ConnectionError at its end."""
    if not select.select([connection], [], [], timeout)[0]:
        return None
    packet = connection.recv(4096)
    if not packet:
        raise ConnectionResetError("the warm trainer is gone")
    word = json.loads(packet)
    assert isinstance(word, dict)
    return word


def _connect(path: Path) -> socket.socket | None:
    if sys.platform != "linux" or not path.exists():
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection
