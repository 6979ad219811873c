"""Warm and cold processes over stand-ins for torch and LLaMA-Factory, so that all of it takes seconds."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.forge import process, warm
from shared.forge.environment import Trainer, environment
from shared.forge.process import Lost, Running, Work
from shared.settings import Settings
from tests.shared.podkit.world import alive, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking is for Linux")

CLI = """
import json, os, signal, subprocess, sys, time

def main():
    command, *rest = sys.argv[1:]
    if command == "report":
        import torch
        names = {"threads": torch.threads, "argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}
        names["group"] = os.getpgid(0) == os.getpid()
        names["open"] = sorted(os.listdir("/proc/self/fd"))
        print(json.dumps(names))
        print("to stderr", file=sys.stderr)
    elif command == "exit":
        sys.exit(int(rest[0]))
    elif command == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif command == "stop":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        print("ready", flush=True)
        time.sleep(60)
    elif command == "family":
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid, flush=True)
        time.sleep(60)
    elif command == "leave":
        child = subprocess.Popen(["sleep", "60"])
        print(child.pid, flush=True)
"""
MODULES = {
    "torch": "from types import SimpleNamespace\n_C = SimpleNamespace()\nthreads = 0\n"
    "def set_num_threads(n):\n    global threads\n    threads = n\n",
    "numpy": "from types import SimpleNamespace\nrandom = SimpleNamespace(seed=lambda: None)\n",
    "uvicorn": "",
    "llamafactory.train.tuner": "",
    "llamafactory.api.app": "",
    "llamafactory.cli": CLI,
    "transformers.models.llama.modeling_llama": "",
    "transformers.models.auto.tokenization_auto": "",
    "peft.tuners.lora": "",
}


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """A trainer whose libraries are the stand-ins."""
    root = tmp_path_factory.mktemp("trainer")
    for name, text in MODULES.items():
        path = root.joinpath("lib", *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    python = Path(sys.executable)
    return Trainer(home=root, python=python, cli=root / "bin" / "none", stubs=root / "lib", versions={})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", cache=tmp_path / "cache")


@pytest.fixture
def server(settings: Settings, fake: Trainer) -> Iterator[warm.WarmServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERVERS_ALONE", "1")
        started = warm.launch(settings, fake)
    assert started is not None
    yield started
    started.stop(5)


@pytest.fixture(params=["warm", "cold"])
def home(request: pytest.FixtureRequest, settings: Settings) -> Path:
    """A home with a warm trainer, and one without."""
    if request.param == "warm":
        request.getfixturevalue("server")
    settings.home.mkdir(exist_ok=True)
    return settings.home


class Starter:
    def __init__(self, home: Path, trainer: Trainer, root: Path) -> None:
        self.home, self.trainer, self.root = home, trainer, root
        self.log = root / "log"

    def __call__(self, *argv: str, **env: str) -> Running:
        variables = environment(self.trainer, threads=1) | env
        work = Work(argv=argv, env=variables, cwd=self.root, log=self.log)
        return process.start(work, trainer=self.trainer, home=self.home)

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""


@pytest.fixture
def start(home: Path, fake: Trainer, tmp_path: Path) -> Starter:
    return Starter(home, fake, tmp_path)


@pytest.fixture
def start_warm(server: warm.WarmServer, settings: Settings, fake: Trainer, tmp_path: Path) -> Starter:
    return Starter(settings.home, fake, tmp_path)


def test_a_child_has_what_was_asked_for_and_nothing_else(start: Starter) -> None:
    running = start("report", "x.yaml", WANTED="yes")
    assert running.wait(30) == 0
    first, *rest = start.printed().splitlines()
    said = json.loads(first)
    assert said["argv"] == ["llamafactory-cli", "report", "x.yaml"]
    assert said["cwd"] == str(start.root)
    assert said["env"]["WANTED"] == "yes"
    assert said["group"]
    assert len(said["open"]) <= 4, "no socket or lock of the server's"
    assert rest == ["to stderr"]
    if running.warm:
        assert said["threads"] == 1
        assert "SERVERS_ALONE" not in said["env"]


def test_exit_codes_come_back(start: Starter) -> None:
    assert start("exit", "3").wait(30) == 3
    assert start("crash").wait(30) == -signal.SIGSEGV


def test_waiting_ends_with_its_time(start: Starter) -> None:
    running = start("stop")
    assert running.wait(0.01) is None
    running.kill()
    assert running.wait(30) == -signal.SIGKILL
    running.kill()
    running.terminate()
    assert running.wait(0) == -signal.SIGKILL, "a dead process is left alone"


def test_terminate_asks_and_kill_takes_all(start: Starter) -> None:
    running = start("stop")
    wait_for("its handler", lambda: "ready" in start.printed(), 30)
    running.terminate()
    assert running.wait(30) == 7

    start.log.unlink()
    family = start("family")
    child = int(wait_for("its child", start.printed, 30))
    family.kill()
    assert family.wait(30) == -signal.SIGKILL
    wait_for("the end of the whole family", lambda: not alive(child), 10)


def test_what_a_child_leaves_behind_is_cleared_away(start_warm: Starter) -> None:
    assert start_warm("leave").wait(30) == 0
    left = int(start_warm.printed())
    wait_for("its end", lambda: not alive(left), 10)


def test_pids_are_told_to_the_cluster(start: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUZNIA_CHILDREN", str(start.root / "children"))
    pids = [start("exit", "0") for _ in range(2)]
    assert [running.wait(30) for running in pids] == [0, 0]
    told = (start.root / "children").read_text(encoding="ascii")
    assert told == "".join(f"{running.pid}\n" for running in pids)


def test_a_distributed_run_is_never_forked(start_warm: Starter) -> None:
    running = start_warm("exit", "0", FORCE_TORCHRUN="1")
    assert not running.warm
    assert running.wait(30) == 0


def test_children_die_with_their_pod(home: Path, fake: Trainer, tmp_path: Path) -> None:
    """kill -9 of the process that started them."""
    pod = """
import sys
from pathlib import Path
from shared.forge import process
from shared.forge.environment import Trainer, environment
stubs, home, root = map(Path, sys.argv[1:])
trainer = Trainer(home=root, python=Path(sys.executable), cli=root, stubs=stubs, versions={})
work = process.Work(argv=("family",), env=environment(trainer, threads=1), cwd=root, log=root / "log")
running = process.start(work, trainer=trainer, home=home)
print(running.pid, flush=True)
running.wait()
"""
    words = [sys.executable, "-c", pod, str(fake.stubs), str(home), str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as started:
        assert started.stdout
        child = int(started.stdout.readline())
        assert alive(child)
        started.kill()
    wait_for("the trainer's end", lambda: not alive(child), 10)


def test_one_a_home(server: warm.WarmServer, settings: Settings, fake: Trainer) -> None:
    assert warm.launch(settings, fake) is None
    assert server.alive()


def test_none_where_none_is_wanted(settings: Settings, fake: Trainer) -> None:
    cold = Settings(home=settings.home, cache=settings.cache, warm=False)
    assert warm.launch(cold, fake) is None


def test_the_socket_is_ours_alone(server: warm.WarmServer, settings: Settings) -> None:
    assert warm.socket_path(settings.home).stat().st_mode & 0o077 == 0


def test_a_long_home_has_a_short_socket(
    tmp_path: Path, fake: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    home = tmp_path / ("x" * 90)
    path = warm.socket_path(home)
    assert len(str(path)) < 108
    assert path != warm.socket_path(tmp_path / ("x" * 91))
    server = warm.launch(Settings(home=home, cache=tmp_path), fake)
    assert server is not None
    running = Starter(home, fake, tmp_path)("exit", "4")
    assert (running.warm, running.wait(30)) == (True, 4)
    server.stop(5)
    assert not path.exists()


def test_other_values_of_import_time_variables_go_cold(start_warm: Starter) -> None:
    running = start_warm("exit", "0", HF_HUB_OFFLINE="0")
    assert not running.warm
    assert running.wait(30) == 0


@pytest.mark.parametrize("packet", [b"nonsense", b"{}", b'{"argv": 1, "env": [], "cwd": null}', b"[]"])
def test_nonsense_is_refused_and_hurts_nobody(start_warm: Starter, settings: Settings, packet: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(str(warm.socket_path(settings.home)))
        stranger.send(packet)
        answer = json.loads(stranger.recv(4096))
    assert "refused" in answer
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(str(warm.socket_path(settings.home)))  # and hangs up without a word
    running = start_warm("exit", "5")
    assert (running.warm, running.wait(30)) == (True, 5)


def test_a_killed_server_is_told_as_lost(start_warm: Starter, server: warm.WarmServer) -> None:
    running = start_warm("stop")
    assert running.warm
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(Lost):
        running.wait(30)
    wait_for("its child's end", lambda: not alive(running.pid), 10)
    again = start_warm("exit", "6")
    assert (again.warm, again.wait(30)) == (False, 6)


def test_lost_work_is_done_again_but_not_for_ever() -> None:
    calls: list[int] = []

    def run() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise Lost("gone")
        return "done"

    assert process.insist(run) == "done"

    def never() -> str:
        raise Lost("gone")

    with pytest.raises(Lost):
        process.insist(never)


def test_an_orphan_retires_after_its_last_child(settings: Settings, fake: Trainer, tmp_path: Path) -> None:
    """Its owner is killed: the child runs on, a successor takes the name, the old one goes with its child."""
    owner = """
import sys, time
from pathlib import Path
from shared.forge import warm
from shared.forge.environment import Trainer
from shared.settings import Settings
stubs, home = map(Path, sys.argv[1:])
trainer = Trainer(home=home, python=Path(sys.executable), cli=home, stubs=stubs, versions={})
server = warm.launch(Settings(home=home, cache=home), trainer)
print(server.pid, flush=True)
time.sleep(60)
"""
    words = [sys.executable, "-c", owner, str(fake.stubs), str(settings.home)]
    start = Starter(settings.home, fake, tmp_path)
    with subprocess.Popen(words, stdout=subprocess.PIPE) as started:
        assert started.stdout
        old = int(started.stdout.readline())
        running = start("stop")
        wait_for("its handler", lambda: "ready" in start.printed(), 30)
        started.kill()
    path = warm.socket_path(settings.home)
    wait_for("its retirement", lambda: not path.exists(), 10)
    successor: Any = wait_for("a successor", lambda: warm.launch(settings, fake), 10)
    assert alive(running.pid)
    assert alive(old)
    other = start("exit", "8")
    assert (other.warm, other.wait(30)) == (True, 8)
    running.terminate()
    assert running.wait(30) == 7
    wait_for("the old one's end", lambda: not alive(old), 10)
    successor.stop(5)


def test_many_at_once(start_warm: Starter) -> None:
    began = time.monotonic()
    codes = [start_warm("exit", str(number)) for number in range(20)]
    assert [running.wait(30) for running in codes] == list(range(20))
    assert time.monotonic() - began < 30
