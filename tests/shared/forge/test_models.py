"""Base models: found by name, and by nothing that leaves their folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Reject
from shared.forge import models

SOURCE = models.Source(name="acme/small", revision="1", licence="mit", origin="a test")


def make(root: Path, source: models.Source = SOURCE) -> Path:
    path = models.folder(root, source.name)
    path.mkdir(parents=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "LICENSE"):
        (path / name).write_text(f"content of {name}")
    models.write_source(path, source)
    return path


def test_a_model_is_found_by_its_name_on_the_hub(tmp_path: Path) -> None:
    path = make(tmp_path)
    found = models.resolve(tmp_path, "acme/small")
    assert found
    assert (found.path, found.licence, found.revision) == (path, "mit", "1")
    assert path.name == "acme--small"
    assert found.digest == models.digest(path)
    assert models.available(tmp_path) == ["acme/small"]


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert models.resolve(tmp_path, "acme/small") is None
    assert models.available(tmp_path / "none") == []


def test_a_model_without_its_last_file_is_not_there(tmp_path: Path) -> None:
    (make(tmp_path) / models.SOURCE).unlink()
    assert models.resolve(tmp_path, "acme/small") is None
    assert models.available(tmp_path) == []


def test_a_cut_source_is_none(tmp_path: Path) -> None:
    source = make(tmp_path) / models.SOURCE
    source.write_bytes(source.read_bytes()[:-20])
    assert models.resolve(tmp_path, "acme/small") is None


def test_a_folder_of_another_model_is_not_this_one(tmp_path: Path) -> None:
    make(tmp_path).rename(tmp_path / "acme--large")
    assert models.resolve(tmp_path, "acme/large") is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "small",
        "/etc/passwd",
        "../small",
        "acme/..",
        "acme/../../x",
        "a/b/c",
        "acme/",
        "/small",
        "./small",
        "acme/sm all",
        "acme/small\n",
        "acme\\small/x",
        "-acme/small",
        "acme/a..b",
    ],
)
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Reject, match="<organisation>/<name>"):
        models.resolve(tmp_path, name)


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(Reject, match=r"no \*\.safetensors"):
        models.write_source(tmp_path, SOURCE)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_the_digest_sees_what_changes_answers(tmp_path: Path, name: str) -> None:
    path = make(tmp_path)
    before = models.digest(path)
    (path / name).write_text("other content")
    assert models.digest(path) != before
    (path / name).unlink()
    assert models.digest(path) != before


def test_the_digest_does_not_see_the_rest(tmp_path: Path) -> None:
    path = make(tmp_path)
    before = models.digest(path)
    (path / "LICENSE").write_text("other content")
    (path / models.SOURCE).unlink()
    assert models.digest(path) == before
