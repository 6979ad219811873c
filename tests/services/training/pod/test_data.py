"""What the card is told of the data that was trained on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from services.training.pod.data import data_facts


def info(folder: Path, **files: str) -> None:
    known = {name: {"file_name": file} for name, file in files.items()}
    (folder / "dataset_info.json").write_text(json.dumps(known))


def test_every_training_file_has_its_digest_and_rows(tmp_path: Path) -> None:
    info(tmp_path, one="one.json", two="two.jsonl", other="other.json")
    (tmp_path / "one.json").write_text('[{"a": 1}, {"a": 2}]')
    (tmp_path / "two.jsonl").write_text('{"a": 1}\n\n{"a": 2}\n{"a": 3}\n')
    (tmp_path / "other.json").write_text("[]")
    facts = data_facts(tmp_path, {"dataset_dir": ".", "dataset": "one, two"})
    assert facts == {
        "data.one.json": "sha256:" + hashlib.sha256((tmp_path / "one.json").read_bytes()).hexdigest(),
        "rows.one.json": "2",
        "data.two.jsonl": "sha256:" + hashlib.sha256((tmp_path / "two.jsonl").read_bytes()).hexdigest(),
        "rows.two.jsonl": "3",
    }


def test_files_in_a_folder_of_their_own_are_named_by_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    info(tmp_path / "data", one="one.json")
    (tmp_path / "data" / "one.json").write_text("[1]")
    assert set(data_facts(tmp_path, {"dataset": ["one"]})) == {"data.data/one.json", "rows.data/one.json"}


def test_rows_that_cannot_be_counted_are_not_told(tmp_path: Path) -> None:
    info(tmp_path, table="table.csv", lines="lines.json", single="single.json")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "lines.json").write_text('{"a": 1}\n{"a": 2}\n')
    (tmp_path / "single.json").write_text('{"a": 1}')
    facts = data_facts(tmp_path, {"dataset_dir": ".", "dataset": "table,lines,single"})
    assert {name: value for name, value in facts.items() if name.startswith("rows.")} == {
        "rows.lines.json": "2"
    }
    assert "data.table.csv" in facts


def test_a_data_set_of_the_hub_has_no_files_here(tmp_path: Path) -> None:
    assert data_facts(tmp_path, {"dataset_dir": ".", "dataset": "alpaca_en"}) == {}
