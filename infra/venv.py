"""The control plane's own environment: `.venv` of this checkout, made once and mended when its pins change."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from shared.forge import steps

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PINS = ROOT / "infra" / "pins" / "control.txt"
CLOUD_PINS = ROOT / "infra" / "pins" / "google.txt"
STAMP = VENV / "kuznia.json"
CLOUD_STAMP = VENV / "kuznia-clouds.json"
BUILD = ("hatchling", "editables")  # installed first, so that our own build is pinned too
EXTRAS = ".[google,kubernetes,s3,fakes]"  # clients of clouds, and what stands in for those in tests
GIGABYTES_NEEDED = 0.5


def prepare() -> None:
    """Make or mend `.venv`. Raises StepFailed."""
    wanted = _stamp()
    if _is_made(wanted):
        return
    with steps.lock(ROOT / "pyproject.toml"):
        if not _is_made(wanted):
            _make_venv(wanted)


def _is_made(wanted: dict[str, str]) -> bool:
    return _read_stamp() == wanted and PYTHON.exists() and (VENV / "bin" / "kuznia").exists()


def _make_venv(wanted: dict[str, str]) -> None:
    if not _usable(wanted):
        if VENV.exists():
            shutil.rmtree(VENV)
        steps.require_space(ROOT, GIGABYTES_NEEDED, "the control plane's environment")
        with steps.step("control plane: virtual environment"):
            steps.run([sys.executable, "-m", "venv", VENV], log=ROOT / ".venv-make.log")
        (ROOT / ".venv-make.log").unlink()
    STAMP.unlink(missing_ok=True)
    install = [str(PYTHON), "-m", "pip", "install", "--no-input", "--progress-bar=off", "-c", str(PINS)]
    with steps.step("control plane: its packages") as line:
        note = line.tell
        steps.run([*install, *BUILD], log=VENV / "pip-build.log", note=note)
        steps.run([*install, "--no-build-isolation", "-e", ".[dev]"], log=VENV / "pip.log", note=note)
    STAMP.write_text(json.dumps(wanted), encoding="utf-8")


def clouds() -> None:
    """Install the clients of clouds and their fakes beside the rest, once. Raises StepFailed."""
    inputs = (PINS.read_bytes(), CLOUD_PINS.read_bytes(), (ROOT / "pyproject.toml").read_bytes())
    wanted = hashlib.sha256(b"".join(inputs)).hexdigest()
    if CLOUD_STAMP.exists() and CLOUD_STAMP.read_text(encoding="utf-8") == wanted:
        return
    with steps.lock(ROOT / "pyproject.toml"), steps.step("clients of clouds, and their fakes") as line:
        pip = [str(PYTHON), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        pins = ["-c", str(PINS), "-c", str(CLOUD_PINS), "--no-build-isolation"]
        steps.run([*pip, *pins, "-e", EXTRAS], log=VENV / "pip-clouds.log", note=line.tell)
    CLOUD_STAMP.write_text(wanted, encoding="utf-8")


def _usable(wanted: dict[str, str]) -> bool:
    """Whether the `.venv` that is there can be installed into: it works, and was made here, by this Python."""
    made = _read_stamp()
    if made and (made["root"], made["python"]) != (wanted["root"], wanted["python"]):
        return False
    return _works(PYTHON)


def _works(python: Path) -> bool:
    """Whether it starts and has pip."""
    if not python.exists():
        return False
    return (
        subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )


def _stamp() -> dict[str, str]:
    inputs = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + PINS.read_bytes()).hexdigest()
    return {"root": str(ROOT), "python": platform.python_version(), "inputs": inputs}


def _read_stamp() -> dict[str, str] | None:
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp
