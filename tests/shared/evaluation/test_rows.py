"""Evaluation sets: read, or all their faults told."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Reject
from shared.evaluation.rows import parse, read


def test_a_list_and_lines_are_the_same() -> None:
    items = [
        b'{"instruction": "a", "output": "b"}',
        b'{"instruction": "c", "expect": "d", "group": "general"}',
    ]
    listed = parse(b"[" + b",".join(items) + b"]", "eval.json")
    assert parse(b"\n".join(items) + b"\n\n", "eval.jsonl") == listed
    assert [row.group for row in listed] == ["main", "general"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "is no JSON list"),
        (b"[", "is no JSON list"),
        (b"[]", "has no rows"),
        (b"[1]", "row 1: Expected `object`"),
        (b'[{"instruction": "a", "output": "b", "expects": "c"}]', "unknown field `expects`"),
        (b'[{"instruction": " ", "output": "b"}]', "row 1: `instruction` is empty"),
        (b'[{"instruction": "a", "expect": " | "}]', "neither `output`"),
        (b'[{"instruction": "a", "output": 3}]', "Expected `str`, got `int`"),
        (b'[{"instruction": "\xff"}]', "row 1: "),
    ],
)
def test_faults_are_named(content: bytes, said: str) -> None:
    with pytest.raises(Reject) as refused:
        parse(content, "eval.json")
    assert said in str(refused.value)
    assert "eval.json" in str(refused.value)


def test_line_numbers_are_those_of_the_file() -> None:
    with pytest.raises(Reject, match="row 3: "):
        parse(b'{"instruction": "a", "output": "b"}\n\n{"instruction": "a"}\n', "eval.jsonl")


def test_many_faults_are_counted() -> None:
    with pytest.raises(Reject, match=r"25 bad row\(s\)") as refused:
        parse(b"[" + b",".join([b"{}"] * 25) + b"]", "eval.json")
    assert "… and 15 more" in str(refused.value)


def test_a_set_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Reject, match=r"evaluation set eval\.json is not in"):
        read(tmp_path / "eval.json", "eval.json")
    (tmp_path / "eval.json").write_bytes(b'[{"instruction": "a", "output": "b"}]')
    assert read(tmp_path / "eval.json", "eval.json").digest.startswith("sha256:")
