"""The environment is made by real pip from packages made here: whole, or not at all, and once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import msgspec
import pytest

from shared.forge import environment, models, provision, steps

TUNER = {
    "llamafactory/__init__.py": "",
    "llamafactory/train/__init__.py": "",
    "llamafactory/train/tuner.py": "import torchaudio\ndef run_exp(): ...\ndef main(): print('hammer')\n",
}
PACKAGES = {"llamafactory": TUNER, "torch": {}, "transformers": {}, "peft": {}}
PROVISION = """
import sys
from pathlib import Path
from shared.forge import provision
provision.trainer(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def write_wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    info = f"{name}-1.0.dist-info"
    requires = "Requires-Dist: not-to-be-had\n" if name == "llamafactory" else ""
    meta = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if files:
        meta[f"{info}/entry_points.txt"] = (
            "[console_scripts]\nllamafactory-cli = llamafactory.train.tuner:main\n"
        )
    content = files | meta
    record = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in (content | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pins of four small packages, and an index that has nothing else."""
    index = tmp_path / "index"
    index.mkdir()
    for name, files in PACKAGES.items():
        write_wheel(index, name, files)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    path = tmp_path / "trainer-cpu.txt"
    path.write_text("".join(f"{name}==1.0\n" for name in PACKAGES))
    return path


@pytest.mark.slow
def test_it_is_made_once_and_runs(tmp_path: Path, pins: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = provision.trainer(tmp_path / "cache", pins)
    assert made.versions["llamafactory"] == "1.0"
    assert made.stubs == environment.STUBS  # its tuner imports torchaudio, as the real one does
    assert capfd.readouterr().out.count("✓") == 3
    env = environment.environment(made)
    said = subprocess.run([made.cli], env=env, capture_output=True, check=True, encoding="utf-8").stdout
    assert said == "hammer\n"
    assert provision.trainer(tmp_path / "cache", pins) == made
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_a_package_that_cannot_be_had_leaves_nothing_whole(tmp_path: Path, pins: Path) -> None:
    pins.write_text(pins.read_text() + "not-to-be-had==1.0\n")
    with pytest.raises(steps.StepFailed, match="check pip's index settings"):
        provision.trainer(tmp_path / "cache", pins)
    assert environment.locate(tmp_path / "cache", pins) is None


@pytest.mark.slow
def test_one_that_cannot_start_is_never_taken_for_whole(tmp_path: Path, pins: Path) -> None:
    broken = TUNER | {"llamafactory/train/tuner.py": "raise ImportError('bent')\n"}
    write_wheel(tmp_path / "index", "llamafactory", broken)
    with pytest.raises(steps.StepFailed, match="bent"):
        provision.trainer(tmp_path / "cache", pins)
    assert environment.locate(tmp_path / "cache", pins) is None


@pytest.mark.slow
def test_two_at_once_make_one(tmp_path: Path, pins: Path) -> None:
    command = [sys.executable, "-c", PROVISION, str(tmp_path / "cache"), str(pins)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(2)]
    said = [child.communicate(timeout=120)[0] for child in both]
    assert [child.returncode for child in both] == [0, 0]
    assert sum("virtual environment" in text for text in said) == 1
    assert environment.locate(tmp_path / "cache", pins)


@pytest.mark.slow
def test_one_killed_half_way_is_made_again(tmp_path: Path, pins: Path) -> None:
    home = environment.folder(tmp_path / "cache", pins)
    command = [sys.executable, "-c", PROVISION, str(tmp_path / "cache"), str(pins)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (home / "bin").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    (home / "left-over").touch()
    assert environment.locate(tmp_path / "cache", pins) is None
    assert provision.trainer(tmp_path / "cache", pins)
    assert not (home / "left-over").exists()


@pytest.mark.trainer
def test_a_model_is_made_once_and_anew_with_another_recipe(
    tmp_path: Path, trainer: environment.Trainer, capfd: pytest.CaptureFixture[str]
) -> None:
    first = provision.model(tmp_path, provision.TINY, trainer)
    assert "✓" in capfd.readouterr().out
    assert provision.model(tmp_path, provision.TINY, trainer) == first
    assert capfd.readouterr().out == ""
    ingredient = tmp_path / "ingredient"
    ingredient.write_text("salt")
    other = msgspec.structs.replace(provision.TINY, ingredients=(*provision.TINY.ingredients, ingredient))
    assert provision.model(tmp_path, other, trainer).digest == first.digest
    assert "✓" in capfd.readouterr().out
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["kuznia--tiny-llama"]


@pytest.mark.trainer
def test_a_model_that_cannot_be_made_leaves_the_old_one(tmp_path: Path, trainer: environment.Trainer) -> None:
    first = provision.model(tmp_path, provision.TINY, trainer)
    bent = msgspec.structs.replace(provision.TINY, script="no_such_script", ingredients=())
    with pytest.raises(steps.StepFailed, match="no_such_script"):
        provision.model(tmp_path, bent, trainer)
    assert models.resolve(tmp_path / "models", "kuznia/tiny-llama") == first
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["kuznia--tiny-llama"]


def test_every_ingredient_is_there() -> None:
    for recipe in (provision.SMOLLM, provision.TINY):
        assert recipe.digest.startswith("sha256:")


def test_bad_settings_are_told_not_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUZNIA_PORT", "anvil")
    assert provision.main() == 1
    assert "KUZNIA_PORT is 'anvil'" in capsys.readouterr().err
