"""The trainer's environment: found only where it is whole, and run without our secrets."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from shared.errors import Reject
from shared.forge import environment

VERSIONS = {"python": "3.11.7", "llamafactory": "0.9.5"}


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    path = tmp_path / "trainer-cpu.txt"
    path.write_text("llamafactory==0.9.5\n")
    return path


def make(cache: Path, pins: Path, *, needs_stub: bool = False) -> Path:
    home = environment.folder(cache, pins)
    (home / "bin").mkdir(parents=True)
    for name in ("python", "llamafactory-cli"):
        (home / "bin" / name).touch()
    stamp = environment.Stamp(versions=VERSIONS, needs_stub=needs_stub)
    (home / environment.STAMP).write_bytes(msgspec.json.encode(stamp))
    return home


def test_a_whole_one_is_found(tmp_path: Path, pins: Path) -> None:
    home = make(tmp_path, pins)
    found = environment.require(tmp_path, pins)
    assert (found.home, found.python, found.versions) == (home, home / "bin" / "python", VERSIONS)
    assert found.cli == home / "bin" / "llamafactory-cli"
    assert found.stubs is None


def test_other_pins_are_another_environment(tmp_path: Path, pins: Path) -> None:
    make(tmp_path, pins)
    pins.write_text("llamafactory==0.9.6\n")
    assert environment.locate(tmp_path, pins) is None


@pytest.mark.parametrize("missing", [environment.STAMP, "bin/python", "bin/llamafactory-cli"])
def test_a_half_made_one_is_not_found(tmp_path: Path, pins: Path, missing: str) -> None:
    (make(tmp_path, pins) / missing).unlink()
    assert environment.locate(tmp_path, pins) is None


def test_a_cut_stamp_is_no_stamp(tmp_path: Path, pins: Path) -> None:
    stamp = make(tmp_path, pins) / environment.STAMP
    stamp.write_bytes(stamp.read_bytes()[:20])
    assert environment.locate(tmp_path, pins) is None


def test_a_python_that_was_removed_from_under_it_is_noticed(tmp_path: Path, pins: Path) -> None:
    python = make(tmp_path, pins) / "bin" / "python"
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert environment.locate(tmp_path, pins) is None


def test_absence_is_told_with_the_mend(tmp_path: Path, pins: Path) -> None:
    with pytest.raises(Reject, match="make trainer") as caught:
        environment.require(tmp_path, pins)
    assert str(environment.folder(tmp_path, pins)) in str(caught.value)


def test_missing_pins_are_told(tmp_path: Path) -> None:
    with pytest.raises(Reject, match="checkout"):
        environment.locate(tmp_path, tmp_path / "none.txt")


def test_no_secret_of_ours_reaches_it(tmp_path: Path, pins: Path) -> None:
    make(tmp_path, pins)
    secret = [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "KUZNIA_HOME",
        "KUZNIA_WEBHOOK_SECRET",
        "AWS_SECRET_ACCESS_KEY",
        "WANDB_API_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "PGPASSWORD",
        "PYTHONPATH",
        "PYTHONHOME",
        "DISABLE_VERSION_CHECK",
        "ALLOW_EXTRA_ARGS",
    ]
    harmless = {"HOME": "/home/x", "LANG": "C.UTF-8", "TMPDIR": "/var/tmp", "TOKENIZERS_PARALLELISM": "true"}
    base = dict.fromkeys(secret, "x") | harmless | {"PATH": "/usr/bin"}
    got = environment.environment(environment.require(tmp_path, pins), base=base)
    assert not set(secret) & set(got)
    assert harmless | {"TOKENIZERS_PARALLELISM": "false"} == {name: got[name] for name in harmless}


def test_it_runs_offline_with_its_own_programs_first(tmp_path: Path, pins: Path) -> None:
    home = make(tmp_path, pins)
    got = environment.environment(environment.require(tmp_path, pins), base={"PATH": "/usr/bin"})
    assert got["PATH"] == f"{home / 'bin'}{os.pathsep}/usr/bin"
    assert (got["HF_HUB_OFFLINE"], got["HF_DATASETS_OFFLINE"]) == ("1", "1")


def test_the_stub_is_there_only_where_it_is_needed(tmp_path: Path, pins: Path) -> None:
    make(tmp_path, pins, needs_stub=True)
    trainer = environment.require(tmp_path, pins)
    assert environment.environment(trainer, base={})["PYTHONPATH"] == str(environment.STUBS)
    without = msgspec.structs.replace(trainer, stubs=None)
    assert "PYTHONPATH" not in environment.environment(without, base={})


@pytest.mark.parametrize(("asked", "given"), [(0, 3), (1, 1), (2, 2), (64, 3)])
def test_threads_never_outnumber_the_cpus(
    tmp_path: Path, pins: Path, monkeypatch: pytest.MonkeyPatch, asked: int, given: int
) -> None:
    make(tmp_path, pins)
    monkeypatch.setattr(environment, "available_cpus", lambda: 3)
    got = environment.environment(environment.require(tmp_path, pins), threads=asked, base={})
    assert got["OMP_NUM_THREADS"] == str(given)


@pytest.mark.parametrize(
    ("quota", "cpus"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("6400000 100000", 8)]
)
def test_a_control_group_cuts_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cpus: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert environment.available_cpus(tmp_path / "cpu.max") == cpus
    assert environment.available_cpus(tmp_path / "none") == 8


def test_the_real_pins_name_what_the_trainer_is() -> None:
    pinned = dict(line.split("==") for line in environment.PINS.read_text().split())
    assert {"llamafactory", "torch", "transformers", "peft"} <= set(pinned)
