"""The import contracts of pyproject.toml hold, and they see what they are there to see."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.source import PACKAGES, ROOT

# file -> a line that breaks a contract, and the contract's name
PLANTED: Mapping[str, tuple[str, str]] = {
    "events/parts.py": ("import shared.errors", "Imports run one way"),
    "services/webhook/experiments.py": (
        "import services.training.effects",
        "Services only hear and say events",
    ),
    "services/training/decide.py": ("import subprocess", "import no I/O"),
    "shared/identity.py": ("import sqlite3", "import no I/O"),
    "shared/experiment/faults.py": ("import socket", "import no I/O"),
    "services/registration/effects.py": ("import torch", "neither torch"),
    "services/console/errors.py": ("import google.cloud.storage", "Clients of clouds"),
    "shared/record.py": ("import cloudevents", "SDK of CloudEvents"),
}


def lint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(
        [tool, "--no-cache", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_the_contracts_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our packages, for all tests of this file: what one plants there it takes away again."""
    folder = tmp_path_factory.mktemp("copy")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_a_copy_holds_them_as_well(copy: Path):
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", PLANTED)
def test_a_planted_import_breaks_its_contract(copy: Path, path: str):
    line, contract = PLANTED[path]
    target = copy / path
    before = target.read_text(encoding="utf-8")
    target.write_text(f"{before}\n{line}\n", encoding="utf-8")
    try:
        done = lint(copy)
    finally:
        target.write_text(before, encoding="utf-8")
    words = " ".join(done.stdout.split())
    assert done.returncode == 1, words
    broken = [found["name"] for found in contracts() if f"{found['name']} BROKEN" in words]
    assert any(contract in name for name in broken), words


def test_every_contract_is_planted_against():
    assert all(any(contract in found["name"] for _, contract in PLANTED.values()) for found in contracts())


def test_only_the_composition_may_know_several_services():
    (independence,) = [found for found in contracts() if found["type"] == "independence"]
    assert independence["modules"] == ["services.*"]
    assert {line.split(" -> ")[0].removesuffix(".**") for line in independence["ignore_imports"]} == {
        "services.cli", "services.operations", "services.platform", "services.worker", "services.__main__",
    }  # fmt: skip
