"""What `kuznia new` writes is right, complete, and never over something."""

from __future__ import annotations

import json

import pytest
import yaml

from shared.errors import Reject
from shared.experiment.check import check, render
from shared.experiment.folder import read_directory
from shared.experiment.scaffold import scaffold

ALL = ["config.yaml", "model.yaml", "dataset_info.json", "README.md", "train.json", "eval.json"]


def rows(path):
    return json.loads(path.read_text())


def test_the_example_passes_the_check_as_it_is(tmp_path):
    target = tmp_path / "a" / "pump-help"
    written = scaffold(target, tenant="team-x", name="pump-help", owner="Support")
    assert written == [target / file for file in ALL]
    checked = check(read_directory(target), known_models=["HuggingFaceTB/SmolLM2-135M-Instruct"])
    assert render(checked.faults + checked.warnings) == ""
    assert "output_dir" not in checked.config
    assert checked.manifest["tenant"] == "team-x"
    assert checked.manifest["name"] == "pump-help"


@pytest.mark.parametrize("owner", ['Support "A": #1 \\ {x}', "zespół żurawi", "{{name}}", "a: b"])
def test_any_owner_arrives_as_written(tmp_path, owner):
    scaffold(tmp_path, tenant="t", name="n", owner=owner)
    manifest = yaml.safe_load((tmp_path / "model.yaml").read_text(encoding="utf-8"))
    assert manifest["owner"] == manifest["contact"]["responsible"] == owner
    assert "{{" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_every_optional_line_of_the_card_is_filled(tmp_path):
    scaffold(tmp_path, tenant="t", name="n", owner="o")
    manifest = check(read_directory(tmp_path)).manifest
    parts = ("purpose", "data", "oversight", "logging", "contact")
    assert all(all(manifest[part].values()) for part in parts)
    assert all(manifest[key] for key in ("limitations", "licence", "language"))


def test_the_data_is_rows_that_do_not_overlap(tmp_path):
    scaffold(tmp_path, tenant="t", name="n", owner="o")
    train, judged = rows(tmp_path / "train.json"), rows(tmp_path / "eval.json")
    assert len(train) == 24
    assert all(set(row) == {"instruction", "input", "output"} for row in train)
    assert {row["instruction"] for row in train} & {row["instruction"] for row in judged} == set()
    assert all(row["expect"] in row["output"] for row in judged)
    groups = [row["group"] for row in judged]
    assert {group: groups.count(group) for group in groups} == {"held-out": 4, "paraphrase": 6, "general": 4}


def test_without_the_example_every_todo_is_a_fault(tmp_path):
    written = scaffold(tmp_path, tenant="t", name="n", owner="o", example=False)
    assert [path.name for path in written] == ALL[:4]
    text = (tmp_path / "model.yaml").read_text()
    faults = check(read_directory(tmp_path)).faults
    assert sum("is still `TODO`" in fault.what for fault in faults) == text.count("TODO") - 1 == 5
    assert [fault.what for fault in faults if "TODO" not in fault.what] == [
        "names `eval.json`, a file that is not in this folder",
        "names `train.json`, a file that is not in this folder",
    ]


def test_existing_files_are_named_and_left_alone(tmp_path):
    (tmp_path / "config.yaml").write_text("mine")
    (tmp_path / "train.json").symlink_to("nowhere")
    with pytest.raises(Reject, match=r"already has config\.yaml, train\.json"):
        scaffold(tmp_path, tenant="t", name="n", owner="o")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "train.json"]
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_bad_names_are_told_at_once_and_nothing_is_written(tmp_path):
    with pytest.raises(Reject) as told:
        scaffold(tmp_path / "new", tenant="Team X", name="a\n", owner=" ")
    assert [line.split(" ")[0] for line in str(told.value).splitlines()] == ["tenant", "name", "owner"]
    assert not (tmp_path / "new").exists()


def test_a_target_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Reject, match="is a file: choose another folder"):
        scaffold(tmp_path / "file", tenant="t", name="n", owner="o")
