"""Processes that run LLaMA-Factory: forked from the warm trainer where one answers, else started cold; and vLLM.

Both behave alike: an own process group, killed when we die however we die, a pid in KUZNIA_CHILDREN.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from shared.forge import warm
from shared.forge.environment import Trainer
from shared.forge.vllm import INSIDE, Vllm

KILL_SECONDS = 10
Result = TypeVar("Result")


class Lost(Exception):
    """The warm trainer died, and our process with it, through no fault of its own: start it again."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run. argv: as for `llamafactory-cli` (`train x.yaml`, `api x.yaml`), `generate x.json`, or as
    for `vllm`.

    env: the whole environment. log: file that its output is appended to.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    log: Path


class Running(Protocol):
    """A started process. pid: leader of its own process group. warm: forked from the warm trainer."""

    pid: int
    warm: bool

    def wait(self, timeout: float | None = None) -> int | None:
        """Exit code (negative: the signal that killed it), or None where it still runs after `timeout` s.

        Raises Lost.
        """
        ...

    def terminate(self) -> None:
        """SIGTERM to the leader alone: a trainer that saves still needs its workers."""
        ...

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        ...


def insist(run: Callable[[], Result], tries: int = 3) -> Result:
    """What `run` returns, run again where it raises Lost; the last time that goes through."""
    for _ in range(tries - 1):
        try:
            return run()
        except Lost as error:
            sys.stdout.write(f"{error}; starting again\n")
    return run()


def start(work: Work, *, trainer: Trainer, home: Path) -> Running:
    """Start it; `home` is the installation whose warm trainer is asked first. Raises OSError (no Python)."""
    warm_one = None if "FORCE_TORCHRUN" in work.env else _warm(work, home)
    return _listed(warm_one or _cold(work, trainer.python, warm.INSIDE / "child.py"))


def start_vllm(work: Work, engine: Vllm) -> Running:
    """Start vLLM with the words of `work`. Raises OSError (no Python)."""
    return _listed(_cold(work, engine.python, INSIDE / "engine" / "serve.py"))


def _listed(running: Running) -> Running:
    children = os.environ.get("KUZNIA_CHILDREN")
    if children:
        with Path(children).open("a", encoding="ascii") as file:
            file.write(f"{running.pid}\n")
    return running


def _warm(work: Work, home: Path) -> Running | None:
    request = {"argv": work.argv, "env": work.env, "cwd": str(work.cwd)}
    with work.log.open("ab") as log:
        answer = warm.ask(home, request, log.fileno())
    return _Forked(*answer) if answer else None


def _cold(work: Work, python: Path, script: Path) -> Running:
    command = [str(python), str(script), *work.argv]
    with work.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=work.env | {"KUZNIA_PARENT": str(os.getpid())},
            cwd=work.cwd,
            start_new_session=True,
        )
    return _Started(process)


class _Started:
    warm = False

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self, timeout: float | None = None) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        if self._process.poll() is None:  # so the number is still its own
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk cannot be killed
                self._process.wait(KILL_SECONDS)


class _Forked:
    warm = True

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self._connection = connection
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int | None:
        if self._code is None:
            try:
                word = warm.receive(self._connection, timeout)
            except ConnectionError as error:
                self._connection.close()
                raise Lost(str(error)) from error
            if word:
                self._code = int(word["exit"])
                self._connection.close()
        return self._code

    def terminate(self) -> None:
        self._send(b"TERM")

    def kill(self) -> None:
        self._send(b"KILL")

    def _send(self, word: bytes) -> None:
        if self._code is None and self._connection.fileno() >= 0:
            with suppress(OSError):
                self._connection.send(word)
