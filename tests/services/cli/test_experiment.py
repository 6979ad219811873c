"""`kuznia new` and `kuznia check`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.services.cli.prepared import kuznia, refused, told


def test_a_new_experiment_is_right_as_it_is(tmp_path: Path):
    folder = tmp_path / "experiments" / "llm-qa"
    text = told("new", str(folder), "--tenant", "team-y", "--owner", "Ann")
    assert f"kuznia check {folder}" in text
    manifest = (folder / "model.yaml").read_text()
    assert "name: llm-qa" in manifest
    assert "tenant: team-y" in manifest
    assert 'owner: "Ann"' in manifest
    assert "nothing is wrong with it" in told("check", str(folder))


def test_the_owner_is_whoever_sits_there_and_the_name_can_be_another(tmp_path: Path, monkeypatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("KUZNIA_USER", "ben")
    told("new", str(tmp_path / "x"), "--name", "pump-bot")
    manifest = (tmp_path / "x" / "model.yaml").read_text()
    assert "name: pump-bot" in manifest
    assert 'owner: "ben"' in manifest


def test_nothing_is_written_over(tmp_path: Path):
    told("new", str(tmp_path / "a"))
    assert "already has" in refused("new", str(tmp_path / "a"))


def test_a_bad_name_is_refused_before_anything_is_written(tmp_path: Path):
    assert "name is 'No Good'" in refused("new", str(tmp_path / "a"), "--name", "No Good")
    assert not (tmp_path / "a").exists()


def test_every_fault_at_once_and_exit_code_1(tmp_path: Path):
    told("new", str(tmp_path / "a"))
    config = tmp_path / "a" / "config.yaml"
    config.write_text(
        config.read_text().replace("learning_rate:", "learning_rat:") + "\ntrust_remote_code: true\n"
    )
    (tmp_path / "a" / "train.json").unlink()
    result = kuznia("check", str(tmp_path / "a"))
    assert result.exit_code == 1
    for word in ("learning_rat", "trust_remote_code", "train.json"):
        assert word in result.stdout


def test_as_json(tmp_path: Path):
    told("new", str(tmp_path / "a"))
    assert json.loads(told("check", str(tmp_path / "a"), "--json")) == {"faults": [], "warnings": []}
    (tmp_path / "a" / "model.yaml").unlink()
    result = kuznia("check", str(tmp_path / "a"), "--json")
    assert result.exit_code == 1
    faults = json.loads(result.stdout)["faults"]
    assert any("model.yaml" in str(fault) for fault in faults)


def test_a_folder_that_is_not_there(tmp_path: Path):
    result = kuznia("check", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
