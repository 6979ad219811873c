"""LLaMA-Factory's own program is found and becomes the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from services.deployment.pod import cli
from shared.forge import environment
from shared.forge.environment import STUBS, Trainer


def trainer(home: Path, stubs: Path | None = None) -> Trainer:
    return Trainer(
        home=home, python=home / "bin/python", cli=home / "bin/llamafactory-cli", stubs=stubs, versions={}
    )


def test_it_keeps_what_the_container_says(tmp_path: Path):
    said = {"API_KEY": "k", "PATH": "/usr/bin", "HOME": "/tmp"}
    assert cli.variables(trainer(tmp_path), said) == said | {"PATH": f"{tmp_path}/bin:/usr/bin"}
    assert cli.variables(trainer(tmp_path, STUBS), said)["PYTHONPATH"] == str(STUBS)


def test_without_it_it_says_how_to_make_it(tmp_path: Path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "make trainer" in done.stderr


def test_it_is_the_process_itself(tmp_path: Path):
    home = environment.folder(tmp_path / "kuznia")
    (home / "bin").mkdir(parents=True)
    (home / "kuznia.json").write_text('{"versions": {}, "needs_stub": false}')
    (home / "bin" / "python").touch()
    program = home / "bin" / "llamafactory-cli"
    program.write_text('#!/bin/sh\necho "$$ $API_KEY $*"\nexit 7\n')
    program.chmod(0o755)
    done = run(tmp_path)
    pid, *words = done.stdout.split()
    assert (done.returncode, words) == (7, ["k", "api", "api.yaml"])
    assert int(pid) == done.pid


class Done(subprocess.CompletedProcess[str]):
    """With the pid that it had."""

    pid: int


def run(cache: Path) -> Done:
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "API_KEY": "k"}
    words = [sys.executable, "-m", "services.deployment.pod.cli", "api", "api.yaml"]
    with subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        told, wrong = process.communicate()
    done = Done(words, process.returncode, told, wrong)
    done.pid = process.pid
    return done
