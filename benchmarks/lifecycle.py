"""From a commit to an answer: Kuźnia beside the same steps by hand, in one run, in turns.

By hand, one after another, each a process of its own as a person would start it: `llamafactory-cli train`;
the same evaluation of the base and of the tuned model; `llamafactory-cli api`; one request. With Kuźnia: the
push of the same folder to the first answer through the gateway, on a platform that is up.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import yaml

from benchmarks.sampling import OwnShare, cpu_seconds
from services.cli.chain import Chain
from services.cli.chat import Talk
from services.cli.tokens import own_token
from services.lock import Endpoints, running
from shared.experiment.scaffold import scaffold
from shared.forge.environment import Trainer, environment, require
from shared.forge.models import resolve
from shared.forge.process import Work, start
from shared.identity import run_id
from shared.local import open_ports
from shared.settings import Settings, from_environment

TENANT, NAME = "team-x", "llm-qa"
FOLDER = f"experiments/{NAME}"
QUESTION = "My pump says KX-17, what does that mean?"
MAX_TOKENS = 32
HAND_PORT = 8719
IDENTITY = {
    f"GIT_{role}_{part}": "benchmark" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
}


class ByHand:
    """The steps of a person, timed."""

    def __init__(self, trainer: Trainer, base: Path, folder: Path) -> None:
        self._trainer = trainer
        self._base = base
        self._folder = folder
        self._env = environment(trainer)
        self.steps: dict[str, float] = {}

    def run(self) -> None:
        """All steps, in order."""
        scaffold(self._folder, tenant=TENANT, name=NAME, owner="benchmark")
        self._timed("train", self._train)
        self._timed("evaluate base", lambda: self._evaluate(adapter=False))
        self._timed("evaluate tuned", lambda: self._evaluate(adapter=True))
        self._timed("serve and ask", self._serve_and_ask)

    def _timed(self, name: str, step: Any) -> None:
        began = time.monotonic()
        step()
        self.steps[name] = time.monotonic() - began

    def _train(self) -> None:
        command = [
            self._trainer.cli,
            "train",
            "config.yaml",
            f"model_name_or_path={self._base}",
            "output_dir=out",
        ]
        subprocess.run(command, cwd=self._folder, env=self._env, check=True, capture_output=True)

    def _evaluate(self, *, adapter: bool) -> None:
        rows = json.loads((self._folder / "eval.json").read_text())
        target = self._folder / f"answers-{adapter}.jsonl"
        request = {
            "config": self._inference(adapter=adapter),
            "rows": [{"prompt": row["instruction"], "output": row["output"], "system": ""} for row in rows],
            "max_new_tokens": MAX_TOKENS,
            "batch_size": BATCH_SIZE,
            "answers": str(target),
        }
        path = self._folder / f"request-{adapter}.json"
        path.write_bytes(msgspec.json.encode(request))
        work = Work(
            argv=("generate", str(path)), env=self._env, cwd=self._folder, log=self._folder / "hand.log"
        )
        code = start(
            work, trainer=self._trainer, home=self._folder
        ).wait()  # no warm trainer serves this home
        if code or not target.exists():
            raise RuntimeError(f"the evaluation by hand ended with {code}: see {work.log}")

    def _inference(self, *, adapter: bool) -> dict[str, Any]:
        config = {
            "model_name_or_path": str(self._base),
            "template": "chatml",
            "infer_backend": "huggingface",
            "infer_dtype": "float32",
            "trust_remote_code": False,
        }
        return config | ({"adapter_name_or_path": str(self._folder / "out")} if adapter else {})

    def _serve_and_ask(self) -> None:
        path = self._folder / "api.yaml"
        path.write_text(
            yaml.safe_dump(self._inference(adapter=True) | {"do_sample": False, "max_new_tokens": 64})
        )
        env = self._env | {"API_HOST": "127.0.0.1", "API_PORT": str(HAND_PORT), "API_MODEL_NAME": "hand"}
        with (self._folder / "api.log").open("wb") as log:
            process = subprocess.Popen([self._trainer.cli, "api", str(path)], env=env, stdout=log, stderr=log)
        try:
            _ask_until_answered(f"http://127.0.0.1:{HAND_PORT}/v1/chat/completions")
        finally:
            process.terminate()
            process.wait()


class Ours:
    """The same, by a push to a platform that is up."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._work = settings.home / "demo" / "work"
        self.seconds = 0.0
        self.own_seconds = 0.0
        self.control_cpu_seconds = 0.0

    def run(self) -> None:
        """Bring the platform up, wait until its trainer is warm, then time a push."""
        with _platform(self._settings) as endpoints:
            self._repository()
            _wait_until_warm(self._settings.home)
            self._push_to_answer(endpoints)

    def _repository(self) -> None:
        bare = self._settings.home / "demo" / "config.git"
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
        _git("clone", "--quiet", str(bare), str(self._work))
        _git("-C", str(self._work), "symbolic-ref", "HEAD", "refs/heads/main")
        scaffold(self._work / FOLDER, tenant=TENANT, name=NAME, owner="benchmark")
        command = [
            sys.executable,
            "-m",
            "services.cli.main",
            "hook",
            "install",
            str(bare),
            "--name",
            "config",
        ]
        environ = {**os.environ, "KUZNIA_HOME": str(self._settings.home)}
        subprocess.run(command, env=environ, check=True, capture_output=True)

    def _push_to_answer(self, endpoints: Endpoints) -> None:
        ports = open_ports(self._settings)
        token = own_token(ports, self._settings.home, TENANT)
        _git("-C", str(self._work), "add", "--all")
        _git("-C", str(self._work), "commit", "--quiet", "--message", "benchmark")
        tree = _git("-C", str(self._work), "rev-parse", f"HEAD:{FOLDER}").strip()
        chain = Chain(ports.bus, ports.store, run_id("config", FOLDER, tree))
        cpu = cpu_seconds(endpoints.pid)
        with OwnShare(self._settings.home) as share:
            began = time.monotonic()
            _git("-C", str(self._work), "push", "--quiet", "origin", "main")
            while chain.end is None:
                list(chain.news())
                time.sleep(0.05)
            share.asking = True
            talk = Talk(endpoints.gateway, token, f"{TENANT}.{NAME}.v1", 64)
            answer = "".join(talk.ask(QUESTION)) if chain.end.good else ""
            self.seconds = time.monotonic() - began
        self.own_seconds = share.own_seconds
        self.control_cpu_seconds = cpu_seconds(endpoints.pid) - cpu
        ports.close()
        if not answer:
            raise RuntimeError(f"no answer: {chain.end.text}")


def main() -> None:
    """Both, in turns; a table and a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("build/lifecycle.json"))
    arguments = parser.parse_args()
    rounds = [_round(number) for number in range(arguments.rounds)]
    _print(rounds)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(rounds, indent=2))


def _round(number: int) -> dict[str, Any]:
    settings = from_environment()
    trainer = require(settings.cache)
    base = resolve(settings.models, "HuggingFaceTB/SmolLM2-135M-Instruct")
    if base is None:
        raise SystemExit("the base model is not there: `make trainer` makes it")
    with tempfile.TemporaryDirectory(prefix="kuznia-lifecycle-") as folder:
        hand = ByHand(trainer, base.path, Path(folder) / "hand")
        ours = Ours(msgspec.structs.replace(settings, home=Path(folder) / "home", port=0, gateway_port=0))
        for runner in (hand, ours) if number % 2 == 0 else (ours, hand):
            print(f"round {number + 1}: {type(runner).__name__} …", flush=True)
            runner.run()
    total = sum(hand.steps.values())
    return {
        "by_hand": hand.steps,
        "by_hand_seconds": total,
        "kuznia_seconds": ours.seconds,
        "ratio": ours.seconds / total,
        "own_seconds": ours.own_seconds,
        "own_share": ours.own_seconds / ours.seconds,
        "control_cpu_seconds": ours.control_cpu_seconds,
    }


def _print(rounds: list[dict[str, Any]]) -> None:
    print("\nby hand, seconds a step (median):")
    for name in rounds[0]["by_hand"]:
        print(f"  {name:<16} {median(r['by_hand'][name] for r in rounds):8.1f}")
    rows = {
        "by hand, all steps": ("by_hand_seconds", "s"),
        "Kuźnia, push to answer": ("kuznia_seconds", "s"),
        "  of that our own share": ("own_seconds", "s, no LLaMA-Factory process at work"),
        "  as a part": ("own_share", ""),
        "platform's CPU time": ("control_cpu_seconds", "s"),
        "ratio Kuźnia / by hand": ("ratio", f"(goal: at most 0.9; {len(rounds)} round(s))"),
    }
    for title, (key, unit) in rows.items():
        print(f"{title:<26} {median(r[key] for r in rounds):8.3f} {unit}")


@contextmanager
def _platform(settings: Settings) -> Iterator[Endpoints]:
    environ = {
        **os.environ,
        "KUZNIA_HOME": str(settings.home),
        "KUZNIA_PORT": "0",
        "KUZNIA_GATEWAY_PORT": "0",
    }
    settings.home.mkdir(parents=True)
    with (settings.home / "up.log").open("wb") as log:
        command = [sys.executable, "-m", "services.cli.main", "up"]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        while (found := running(settings.home)) is None:
            if process.poll() is not None:
                raise RuntimeError((settings.home / "up.log").read_text())
            time.sleep(0.05)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _wait_until_warm(home: Path) -> None:
    log = home / "warm.log"
    while not (log.exists() and "listens" in log.read_text()):
        time.sleep(0.1)


def _ask_until_answered(url: str) -> None:
    body = {
        "model": "hand",
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 64,
        "temperature": 0,
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                response.read()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the API by hand did not answer")


def _git(*arguments: str) -> str:
    environ = {**os.environ, **IDENTITY}
    return subprocess.run(["git", *arguments], env=environ, check=True, capture_output=True, text=True).stdout


BATCH_SIZE = 8

if __name__ == "__main__":
    main()
