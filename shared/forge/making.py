"""Making an environment of its own for LLaMA-Factory, or for vLLM: once, in the user's cache.

Idempotent, and safe to run twice at once: a lock lets one work, a stamp written last says that it is whole.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from shared.errors import KuzniaError
from shared.forge import environment, steps
from shared.settings import SettingsError, from_environment


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """home: of the environment. pins: the file that names what belongs into it. logs: folder of its steps'."""

    home: Path
    pins: Path
    logs: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / "python"

    @property
    def pip(self) -> list[str | Path]:
        """How a command begins that installs into it."""
        return [self.python, "-m", "pip", "install", "--no-input", "--progress-bar=off"]

    def pinned(self) -> dict[str, str]:
        """Package -> version."""
        lines = self.pins.read_text(encoding="utf-8").split()
        return dict(line.split("==") for line in lines if "==" in line)

    def imports(self, module: str) -> bool:
        """Whether it can be imported there; one that crashes cannot."""
        return self._run(f"import {module}").returncode == 0

    def said(self, script: str) -> str:
        """What a script prints there. Raises StepFailed."""
        done = self._run(script)
        if done.returncode:
            raise steps.StepFailed(f"{self.python} cannot say what is installed: {done.stderr.strip()}")
        return done.stdout

    def _run(self, script: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [self.python, "-c", script]
        return subprocess.run(
            command, env=pip_environment(), capture_output=True, check=False, encoding="utf-8"
        )


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between them. name: of its logs. label: in its steps. purpose, gigabytes: of the disk's room.

    install: puts the packages there. prove: its stamp, once it has been seen to start: an environment that cannot
    must never be taken for whole. Both raise StepFailed.
    """

    name: str
    label: str
    purpose: str
    gigabytes: float
    install: Callable[[Place], None]
    prove: Callable[[Place], msgspec.Struct]


def once(kind: Kind, cache: Path, pins: Path, locate: Callable[[Path, Path], object]) -> None:
    """Make it, if `locate` does not find it whole. Raises StepFailed, Reject (no pins)."""
    if locate(cache, pins):
        return
    home = environment.folder(cache, pins)
    with steps.lock(cache / f"{home.name}.lock"):
        if not locate(cache, pins):
            _make(kind, Place(home=home, pins=pins, logs=cache / "logs"))


def _make(kind: Kind, place: Place) -> None:
    if place.home.exists():
        shutil.rmtree(place.home)  # half-made by a run that died
    steps.require_space(place.home.parent, kind.gigabytes, kind.purpose)
    with steps.step(f"{kind.label}: virtual environment"):
        steps.run([sys.executable, "-m", "venv", place.home], log=place.logs / f"{kind.name}-venv.log")
    kind.install(place)
    stamp = kind.prove(place)
    temporary = place.home / f".{environment.STAMP}"
    temporary.write_bytes(msgspec.json.encode(stamp))
    temporary.replace(place.home / environment.STAMP)


def run(line: steps.Step, command: Sequence[str | Path], log: Path) -> None:
    """Run pip, or what is like it, as a part of a step. Raises StepFailed."""
    steps.run(command, log=log, env=pip_environment(), note=line.tell)


def pip_environment() -> dict[str, str]:
    """Ours without what would make pip install somewhere else."""
    withheld = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_REQUIRE_VIRTUALENV"}
    return {name: value for name, value in os.environ.items() if name not in withheld}


def carried_out(make: Callable[[Path], object]) -> int:
    """Make what is missing in this user's cache, a line a step; the exit code: 0 where all is there."""
    try:
        cache = from_environment().cache
        cache.mkdir(parents=True, exist_ok=True)
        make(cache)
    except (KuzniaError, SettingsError, steps.StepFailed, OSError) as error:
        sys.stderr.write(f"✗ {steps.explain(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("✗ stopped; run it again to go on\n")
        return 130
    return 0
