"""`.venv` is made once, made anew when its inputs change, and never taken for whole when it is not."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import pytest

from infra import targets, venv
from shared.forge import steps

ROOT = Path(__file__).resolve().parents[2]


class Machine:
    """Stands in for venv and pip: what was run, and what failed."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.fails = ""

    def run(self, command: Sequence[str | Path], **_: object) -> None:
        line = " ".join(map(str, command))
        self.ran.append(line)
        if self.fails and self.fails in line:
            raise steps.StepFailed("bent")
        if " venv " in line:
            (venv.VENV / "bin").mkdir(parents=True)
            (venv.VENV / "bin" / "python").touch()
            (venv.ROOT / ".venv-make.log").touch()
        if "-e .[dev]" in line:
            (venv.VENV / "bin" / "kuznia").touch()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "control.txt").write_text("anvil==1\n")
    monkeypatch.setattr(venv, "ROOT", tmp_path)
    monkeypatch.setattr(venv, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(targets, "ROOT", tmp_path)
    monkeypatch.setattr(targets, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(venv, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(venv, "STAMP", tmp_path / ".venv" / "kuznia.json")
    monkeypatch.setattr(venv, "PINS", tmp_path / "control.txt")
    monkeypatch.setattr(venv, "CLOUD_PINS", tmp_path / "google.txt")
    monkeypatch.setattr(venv, "CLOUD_STAMP", tmp_path / ".venv" / "kuznia-clouds.json")
    (tmp_path / "google.txt").write_text("tongs==1\n")
    monkeypatch.setattr(venv, "_works", Path.exists)
    monkeypatch.setattr(steps, "run", made.run)
    return made


def test_it_is_made_once(machine: Machine) -> None:
    venv.prepare()
    assert len(machine.ran) == 3
    venv.prepare()
    assert len(machine.ran) == 3


def test_other_pins_are_installed_into_it(machine: Machine) -> None:
    venv.prepare()
    venv.PINS.write_text("anvil==2\n")
    venv.prepare()
    assert [line for line in machine.ran[3:] if " venv " in line] == []
    assert len(machine.ran) == 5


def test_a_failed_install_is_not_taken_for_whole(machine: Machine) -> None:
    machine.fails = "-e .[dev]"
    with pytest.raises(steps.StepFailed):
        venv.prepare()
    assert not venv.STAMP.exists()
    machine.fails = ""
    venv.prepare()
    assert venv.STAMP.exists()


def test_a_failed_renewal_is_not_taken_for_whole(machine: Machine) -> None:
    venv.prepare()
    machine.fails = "-e .[dev]"
    venv.PINS.write_text("anvil==2\n")
    with pytest.raises(steps.StepFailed):
        venv.prepare()
    venv.PINS.write_text("anvil==1\n")
    machine.fails = ""
    before = len(machine.ran)
    venv.prepare()
    assert len(machine.ran) > before


@pytest.mark.parametrize("gone", ["bin/python", "bin/kuznia"])
def test_a_broken_one_is_mended(machine: Machine, gone: str) -> None:
    venv.prepare()
    (venv.VENV / gone).unlink()
    venv.prepare()
    assert (venv.VENV / gone).exists()


def test_one_that_was_moved_here_is_made_anew(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    venv.prepare()
    monkeypatch.setattr(venv.platform, "python_version", lambda: "3.12.99")
    (venv.VENV / "old").touch()
    venv.prepare()
    assert not (venv.VENV / "old").exists()


def test_clients_of_clouds_are_installed_once_and_again_for_other_pins(machine: Machine) -> None:
    venv.prepare()
    before = len(machine.ran)
    venv.clouds()
    venv.clouds()
    assert [venv.EXTRAS in line for line in machine.ran[before:]] == [True]
    venv.CLOUD_PINS.write_text("tongs==2\n")
    venv.clouds()
    assert len(machine.ran) == before + 2


def test_clients_of_clouds_that_failed_are_not_taken_for_whole(machine: Machine) -> None:
    venv.prepare()
    machine.fails = venv.EXTRAS
    with pytest.raises(steps.StepFailed):
        venv.clouds()
    machine.fails = ""
    venv.clouds()
    assert venv.CLOUD_STAMP.exists()


def test_an_unknown_profile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE", "moon")
    with pytest.raises(steps.StepFailed, match="PROFILE is 'moon'; it should be local or emulators"):
        targets._on_profile(["true"])


def test_the_profile_emulators_runs_beside_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Running:
        environment: ClassVar = {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            (tmp_path / "ended").touch()

    monkeypatch.setenv("PROFILE", "emulators")
    monkeypatch.setattr(targets, "clouds", lambda: None)
    monkeypatch.setattr(targets, "Emulators", lambda _: Running())
    script = 'test "$KUZNIA_PROFILE $PUBSUB_EMULATOR_HOST" = "gcp 127.0.0.1:1" && exit 7'
    assert targets._on_profile(["sh", "-c", script]) == 7
    assert (tmp_path / "ended").exists()


def test_clean_removes_what_is_of_this_checkout(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    venv.prepare()
    (venv.ROOT / ".kuznia").mkdir()
    (venv.ROOT / "src").mkdir()
    assert targets.main(["clean"]) == 0
    assert sorted(path.name for path in venv.ROOT.iterdir()) == [
        "control.txt",
        "google.txt",
        "pyproject.toml",
        "src",
    ]
    assert capsys.readouterr().out.count("removed") == 2


def test_a_failure_is_told_without_a_traceback(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fails = " venv "
    assert targets.main(["check"]) == 1
    assert "✗ bent" in capsys.readouterr().err


def test_check_tells_all_faults_and_fails(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def static(label: str, _: list[str]) -> int:
        asked.append(label)
        return int(label == "mypy")

    monkeypatch.setattr(targets, "clouds", lambda: None)
    monkeypatch.setattr(targets, "_static", static)
    monkeypatch.setattr(
        targets, "_pytest", lambda words, **_: asked.append(words[words.index("-m") + 1]) or 0
    )
    assert targets.check([]) == 1
    assert asked == [*targets.STATIC, targets.QUICK]


def test_folders_lie_in_memory_where_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(targets, "MEMORY", tmp_path)
    monkeypatch.setattr(targets, "ROOM", 0)
    assert targets._in_memory() == {"PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    monkeypatch.setattr(targets, "ROOM", 1 << 60)
    assert targets._in_memory() == {}
    monkeypatch.setattr(targets, "MEMORY", tmp_path / "none")
    assert targets._in_memory() == {}


def test_bytecode_is_kept_for_the_next_run_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("KUZNIA_REQUIRE", "git")
    monkeypatch.setattr(targets.subprocess, "call", lambda _, env: seen.update(env) or 5)
    assert targets._pytest([]) == 5
    assert "PYTHONDONTWRITEBYTECODE" not in seen
    assert seen["KUZNIA_REQUIRE"] == "git"


def test_every_dependency_is_pinned_and_nothing_names_a_host() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    names = {word.split(">")[0].split("=")[0].split("[")[0].lower().replace("_", "-") for word in wanted}
    for file in (ROOT / "infra" / "pins").glob("*.txt"):
        assert "://" not in file.read_text()
    lines = (ROOT / "infra" / "pins" / "control.txt").read_text().split()
    assert names | set(venv.BUILD) <= {line.split("==")[0].lower().replace("_", "-") for line in lines}


def test_the_makers_tools_are_in_the_environment() -> None:
    for words in targets.STATIC.values():
        assert shutil.which(words[0], path=str(venv.PYTHON.parent)), words[0]


def test_the_clouds_extras_are_pinned_too() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [word for name in ("google", "s3", "fakes") for word in extras[name]]
    names = {word.split(">")[0].split("=")[0].split("[")[0].lower() for word in wanted}
    pins = "".join((ROOT / "infra" / "pins" / f"{name}.txt").read_text() for name in ("control", "google"))
    assert names <= {line.split("==")[0].lower() for line in pins.split()}
