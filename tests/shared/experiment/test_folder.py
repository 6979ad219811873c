"""Reading a directory as Git would list it."""

from __future__ import annotations

import os
import subprocess

import pytest

from shared.experiment.check import check
from shared.experiment.folder import READ_TEXTS, TEXT_LIMIT, as_text, is_read, read_directory


@pytest.fixture
def directory(tmp_path):
    for path, content in {
        "config.yaml": "stage: sft\n",
        "data/dataset_info.json": "{}",
        "data/rows.json": "[]\n",
        ".git/HEAD": "ref",
        "__pycache__/x.pyc": "x",
        "vendor/.git": "gitdir: elsewhere",
        "vendor/file": "x",
        "empty.txt": "",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    return tmp_path


def test_lists_files_with_the_ids_that_git_gives_them(directory, git):
    listed = {entry.path: entry for entry in read_directory(directory).files}
    assert list(listed) == ["config.yaml", "data/dataset_info.json", "data/rows.json", "empty.txt", "vendor"]
    assert listed["vendor"].kind == "submodule"
    for path in ("config.yaml", "data/rows.json", "empty.txt"):
        out = subprocess.run(
            [git, "hash-object", "--", str(directory / path)], capture_output=True, check=True
        )
        assert listed[path].digest == out.stdout.decode().strip()
        assert listed[path].size == (directory / path).stat().st_size


def test_reads_only_the_texts_that_are_checked(directory):
    assert read_directory(directory).texts == {"config.yaml": "stage: sft\n", "data/dataset_info.json": "{}"}
    assert READ_TEXTS == ("config.yaml", "model.yaml", "dataset_info.json")
    assert is_read("a/dataset_info.json")
    assert not is_read("a/config.yaml")


def test_links_are_marked_and_never_followed(directory, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret").write_text("secret")
    (directory / "model.yaml").symlink_to(outside / "secret")
    (directory / "out").symlink_to(outside)
    (directory / "nowhere").symlink_to(outside / "missing")
    folder = read_directory(directory)
    kinds = {entry.path: entry.kind for entry in folder.files}
    assert (kinds["model.yaml"], kinds["out"], kinds["nowhere"]) == ("symlink",) * 3
    assert not any(path.startswith("out/") for path in kinds)
    assert "model.yaml" not in folder.texts
    said = [str(fault) for fault in check(folder).faults]
    assert any(line.startswith("model.yaml: is a symbolic link") for line in said)


def test_large_and_binary_texts_are_left_out_and_told(directory):
    (directory / "config.yaml").write_bytes(b"#" * (TEXT_LIMIT + 1))
    (directory / "model.yaml").write_bytes(b"name: \xff")
    folder = read_directory(directory)
    assert set(folder.texts) == {"data/dataset_info.json"}
    said = [str(fault) for fault in check(folder).faults]
    assert any("config.yaml: is larger than 256 KiB" in line for line in said)
    assert any("model.yaml: is no text in UTF-8" in line for line in said)


def test_pipes_are_no_files(directory):
    os.mkfifo(directory / "pipe")
    assert "pipe" not in {entry.path for entry in read_directory(directory).files}


def test_as_text():
    assert as_text("ż".encode()) == "ż"
    assert as_text(b"\xff") is None
    assert as_text(b"x" * TEXT_LIMIT) is not None


def test_a_path_that_is_no_directory(directory):
    with pytest.raises(NotADirectoryError, match=r"config\.yaml is not a directory"):
        read_directory(directory / "config.yaml")
