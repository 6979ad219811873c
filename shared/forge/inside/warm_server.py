"""The warm trainer: imports torch and LLaMA-Factory once, then forks a process a request.

    warm_server.py LISTENER LOCK        # numbers of inherited descriptors: the socket, and a held lock

A request is one packet on a Unix socket: JSON {argv, env, cwd}, with the file descriptors of the log.
Answers are packets too: {"pid": …}, then {"exit": …}; or {"refused": why}. The client may send TERM or KILL;
when it hangs up, its process group is killed. Stdin is a pipe to the owner: once that is gone the server
takes no more requests, gives its name to a successor, and leaves after its last child.
Runs under the trainer's Python as a script: it imports nothing of ours but its neighbours in this folder.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from child import die_with  # type: ignore[import-not-found]
from child import main as run_child

MAX_REQUEST = 200_000
PATIENCE_SECONDS = 5.0
# Read by the libraries while they are imported: a request that wants other values needs its own process.
IMPORT_TIME = ("HF_", "HUGGINGFACE", "TRANSFORMERS_", "CUDA_", "TORCH", "PYTORCH", "USE_")
# The second line: what a run imports on its way, found by comparing sys.modules before and after one.
MODULES = (
    "torch", "llamafactory.train.tuner", "llamafactory.api.app", "uvicorn",
    "transformers.models.llama.modeling_llama", "transformers.models.auto.tokenization_auto", "peft.tuners.lora",
)  # fmt: skip


class Request(NamedTuple):
    """What a child becomes. log: descriptors of its stdout and stderr."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: tuple[int, int]


class Server:
    """One thread, no thread of ours ever: a fork must copy a process in one state."""

    def __init__(self, listener: socket.socket, lock: int, imported_with: Mapping[str, str]) -> None:
        self._pid = os.getpid()
        self._listener: socket.socket | None = listener
        self._lock = lock
        self._imported_with = imported_with
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._wakeup, signalled = socket.socketpair()
        for end in (self._wakeup, signalled):
            end.setblocking(False)
        self._signalled = signalled
        signal.set_wakeup_fd(signalled.fileno())
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner's ^C is the owner's to handle
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signal)
        self._selector.register(listener, selectors.EVENT_READ, self._on_client)
        self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ, self._retire)

    def serve(self) -> Request | None:
        """Returns twice or more often: in every child with its request, in the server with None at its end."""
        while self._listener or self._children:
            for key, _ in self._selector.select():
                request = self._heed(key)
                if request:
                    return request  # we are the child
        return None

    def _heed(self, key: selectors.SelectorKey) -> Request | None:
        if self._selector.get_map().get(key.fd) is not key:
            return None  # closed by what we did for another of the same batch
        if callable(key.data):
            request: Request | None = key.data()
            return request
        self._on_word(key.fileobj, key.data)
        return None

    def _on_client(self) -> Request | None:
        assert self._listener
        connection, _ = self._listener.accept()
        request, log = _hear(connection, self._imported_with)
        pid = _fork() if isinstance(request, Request) else None
        if pid == 0 and isinstance(request, Request):
            self._become_child(connection)
            return request
        for descriptor in log:
            os.close(descriptor)
        if pid is None:
            _say(
                connection, {"refused": request if isinstance(request, str) else "no process could be forked"}
            )
            connection.close()
            return None
        self._children[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        if not _say(connection, {"pid": pid}):
            _kill_group(pid)
        return None

    def _on_word(self, connection: Any, pid: int) -> None:
        try:
            word = connection.recv(16)
        except OSError:
            word = b""
        if word == b"TERM":
            os.kill(pid, signal.SIGTERM)  # its workers are its own to stop
            return
        _kill_group(pid)  # KILL, or the client is gone
        if not word:
            self._selector.unregister(connection)

    def _on_signal(self) -> None:
        numbers = self._wakeup.recv(4096)
        for pid in list(self._children):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                self._bury(pid)
        if signal.SIGTERM in numbers:
            self._retire()

    def _bury(self, pid: int) -> None:
        _kill_group(pid)  # whatever it left behind; before it is reaped, while the number is still its own
        _, status = os.waitpid(pid, 0)
        connection = self._children.pop(pid)
        if connection in self._selector.get_map():
            self._selector.unregister(connection)
        _say(connection, {"exit": os.waitstatus_to_exitcode(status)})
        connection.close()

    def _retire(self) -> None:
        """No more requests; a successor may take the name while our last children run to their end."""
        if self._listener is None:
            return
        Path(self._listener.getsockname()).unlink(missing_ok=True)
        self._selector.unregister(self._listener)
        self._selector.unregister(sys.stdin.fileno())
        self._listener.close()
        self._listener = None
        os.close(self._lock)

    def _become_child(self, connection: socket.socket) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        die_with(self._pid)
        assert self._listener
        self._selector.close()
        for held in (connection, self._listener, self._wakeup, self._signalled, *self._children.values()):
            held.close()
        os.close(self._lock)


def become(request: Request) -> None:
    """Take on the request's environment, folder and log, as a process started for it would have them."""
    import numpy as np  # noqa: PLC0415
    import torch  # noqa: PLC0415

    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((null, 0), (request.log[0], 1), (request.log[1], 2)):
        os.dup2(descriptor, target)
    for descriptor in {null, *request.log}:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request.env)
    os.chdir(request.cwd)
    random.seed()
    np.random.seed()  # noqa: NPY002 - it is the global state that must differ between forks
    torch.set_num_threads(max(1, int(request.env.get("OMP_NUM_THREADS", "1"))))
    if getattr(torch._C, "_cuda_isInBadFork", lambda: False)():  # noqa: SLF001 # pragma: no cover
        script = str(Path(__file__).with_name("child.py"))  # the GPU's driver cannot be forked: start afresh
        os.execv(sys.executable, [sys.executable, script, *request.argv])  # noqa: S606


def _hear(connection: socket.socket, imported_with: Mapping[str, str]) -> tuple[Request | str, list[int]]:
    """The request, or why it cannot be taken; and the descriptors that came with it."""
    connection.settimeout(PATIENCE_SECONDS)  # nobody may keep us from the others
    try:
        packet, log, _, _ = socket.recv_fds(connection, MAX_REQUEST, 2)
    except OSError as error:
        return f"no request: {error}", []
    return _understand(packet, log, imported_with), log


def _fork() -> int | None:
    """As os.fork; None where the system has no room for another process."""
    try:
        return os.fork()
    except OSError:
        return None


def _understand(packet: bytes, log: list[int], imported_with: Mapping[str, str]) -> Request | str:
    """The request, or why it cannot be taken."""
    try:
        wanted = json.loads(packet)
        env = {str(name): str(value) for name, value in wanted["env"].items()}
        request = Request([str(word) for word in wanted["argv"]], env, str(wanted["cwd"]), (log[0], log[1]))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        return f"no request: {error!r}"
    names = sorted(name for name in {*env, *imported_with} if name.startswith(IMPORT_TIME))
    other = [name for name in names if env.get(name) != imported_with.get(name)]
    return f"imported with other values of {', '.join(other)}" if other else request


def _say(connection: socket.socket, word: dict[str, Any]) -> bool:
    try:
        connection.send(json.dumps(word).encode())
    except OSError:
        return False
    return True


def _kill_group(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # a child that has not yet made its group has only its number
        try:
            kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def _warm_up() -> None:
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # so that a child's collector does not copy the pages it shares with us
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def main(listener: int, lock: int) -> None:
    """Serve until the owner is gone and the last child has ended."""
    began_with = dict(os.environ)  # the libraries add to it while they are imported
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asks for GPUs without touching the driver
    _warm_up()
    with socket.socket(fileno=listener) as connected:
        sys.stdout.write(f"the warm trainer listens on {connected.getsockname()}, pid {os.getpid()}\n")
        sys.stdout.flush()
        request = Server(connected, lock, began_with).serve()
    if request:
        become(request)
        run_child(request.argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
