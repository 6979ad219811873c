"""`infra/bootstrap.py` on machines that lack something: every lack at once, each with its mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = ROOT / "infra" / "bootstrap.py"
REAL = getattr(sys, "_base_executable", sys.executable)
PRETEND = """
import runpy, sys
sys.version_info = {version}
sys._base_executable = {python!r}
sys.argv = ["bootstrap.py", "help"]
runpy.run_path({path!r}, run_name="__main__")
"""


def program(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def bootstrap(version: tuple[int, ...], path: Path, python: str = REAL) -> subprocess.CompletedProcess[str]:
    source = PRETEND.format(version=version, python=python, path=str(BOOTSTRAP))
    return subprocess.run(
        [REAL, "-c", source], env={"PATH": str(path)}, capture_output=True, encoding="utf-8", check=False
    )


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    program(tmp_path / "bin", "git", "exit 0")
    return tmp_path / "bin"


def test_a_good_machine_goes_on(tools: Path) -> None:
    done = bootstrap((3, 11, 7), tools)
    assert (done.returncode, done.stderr) == (0, "")
    assert "make demo" in done.stdout


def test_an_old_python_and_no_git_are_told_together(tmp_path: Path) -> None:
    done = bootstrap((3, 9, 2), tmp_path)
    assert done.returncode == 1
    assert "Python 3.9 is too old" in done.stderr
    assert "apt install python3.11 python3.11-venv" in done.stderr
    assert "apt install git" in done.stderr


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 15, 0)])
def test_a_better_python_on_path_is_taken(tools: Path, version: tuple[int, ...]) -> None:
    program(tools, "python3.11", "exit 1")  # a shim without a Python behind it
    program(tools, "python3.12", f'echo taken >&2; exec "{REAL}" "$@"')
    done = bootstrap(version, tools)
    assert done.returncode == 0
    assert "taken" in done.stderr
    assert "make demo" in done.stdout


def test_a_newer_python_is_better_than_none(tools: Path) -> None:
    assert "make demo" in bootstrap((3, 15, 0), tools).stdout


def test_missing_venv_is_told(tools: Path) -> None:
    without = program(tools, "python-without", "exit 1")
    done = bootstrap((3, 12, 1), tools, str(without))
    assert done.returncode == 1
    assert "apt install python3-venv (or python3.12-venv)" in done.stderr


def test_an_old_python_can_read_the_file() -> None:
    """What Python 3.6 does not know would be a syntax error in place of a clear word."""
    source = BOOTSTRAP.read_text(encoding="utf-8")
    compile(source, str(BOOTSTRAP), "exec", dont_inherit=True)
    assert "from __future__ import annotations" not in source
    for word in (":=", "match ", "removeprefix", "list[str]:", "-> list["):
        assert word not in source


def test_make_and_bootstrap_know_the_same_targets() -> None:
    said = subprocess.run(
        [REAL, BOOTSTRAP, "help"], capture_output=True, check=True, encoding="utf-8", env=dict(os.environ)
    ).stdout
    listed = {line.split()[1] for line in said.splitlines() if line.startswith("  make ")}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = next(line for line in makefile.splitlines() if line.startswith("TARGETS :="))
    assert listed == {*targets.split()[2:], "help"}
    assert listed >= {"demo", "test", "check", "trainer", "bench-lifecycle", "up", "clean"}


def test_an_unknown_target_is_told() -> None:
    done = subprocess.run([REAL, BOOTSTRAP, "forge"], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2
    assert "no target 'forge'; there are: demo" in done.stderr
