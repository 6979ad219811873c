"""Fetching one folder at one commit from real Git repositories."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from events.parts import Source
from shared.errors import Reject, Retry
from shared.podkit.repository import checkout
from tests.shared.podkit.world import PodWorld


@pytest.fixture
def fetch(world: PodWorld, git: str) -> Callable[[Source], Path]:
    def run(source: Source) -> Path:
        target = world.root / "work" / "experiment"
        checkout(source, world.root / "git", target)
        return target

    return run


def changed(source: Source, **fields: str) -> Source:
    return msgspec.structs.replace(source, **fields)


def test_the_folder_and_nothing_else(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    world.commit({"other.txt": "not ours"}, "experiments/other")
    source = world.commit({"config.yaml": "stage: sft\n", "data/train.json": "[]", "grüße ü.txt": "ü"})
    target = fetch(source)
    files = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert files == {"config.yaml", "data/train.json", "grüße ü.txt"}
    assert (target / "config.yaml").read_text(encoding="utf-8") == "stage: sft\n"
    assert all(path.stat().st_mode & 0o222 == 0 for path in target.rglob("*") if path.is_file())


def test_the_commit_is_taken_not_the_branch(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    first = world.commit({"config.yaml": "one"})
    second = world.commit({"config.yaml": "two", "new.txt": "x"})
    assert (fetch(second) / "config.yaml").read_text() == "two"
    assert (fetch(first) / "config.yaml").read_text() == "one"
    assert not (fetch(first) / "new.txt").exists()


def test_a_commit_already_here_needs_no_remote(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    source = world.commit({"config.yaml": "one"})
    fetch(source)
    (world.root / "repository").rename(world.root / "away")
    assert (fetch(source) / "config.yaml").read_text() == "one"


def test_the_root_of_a_repository_is_a_folder(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    world.commit({"config.yaml": "one"}, "deep")
    source = Source(
        repository="configs",
        url=str(world.root / "repository"),
        experiment=".",
        commit=world.git("rev-parse", "HEAD"),
        tree=world.git("rev-parse", "HEAD^{tree}"),
    )
    assert (fetch(source) / "deep" / "config.yaml").exists()


def test_binary_and_empty_files_come_whole(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    content = bytes(range(256)) * 9000 + b"\r\n"
    folder = world.root / "repository" / "experiments" / "qa"
    source = world.commit({"empty": ""})
    (folder / "blob.bin").write_bytes(content)
    (folder / ".gitattributes").write_text("*.bin text eol=lf export-ignore\n", encoding="utf-8")
    (folder / "blob.bin").write_bytes(content)
    world.git("-c", "core.autocrlf=false", "add", "--all")
    world.git("commit", "--quiet", "-m", "binary")
    source = world.source()
    stored = subprocess.run(
        ["git", "cat-file", "blob", f"HEAD:{source.experiment}/blob.bin"],
        cwd=world.root / "repository", check=True, capture_output=True,
    ).stdout  # fmt: skip
    target = fetch(source)
    assert (target / "blob.bin").read_bytes() == stored, "as committed, whatever .gitattributes says"
    assert (target / "empty").read_bytes() == b""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"commit": "1" * 40}, "is not in"),
        ({"commit": "main"}, "not a full commit id"),
        ({"commit": "--upload-pack=x"}, "not a full commit id"),
        ({"tree": "2" * 40}, "and the event says"),
        ({"experiment": "experiments/none"}, "has no folder 'experiments/none'"),
        ({"experiment": "../.."}, "has no folder"),
    ],
)
def test_what_is_not_there_is_rejected(
    world: PodWorld, fetch: Callable[[Source], Path], fields: dict[str, str], said: str
) -> None:
    source = world.commit({"config.yaml": "one"})
    with pytest.raises(Reject, match=said):
        fetch(changed(source, **fields))


def test_a_repository_that_is_away_may_come_back(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    source = world.commit({"config.yaml": "one"})
    with pytest.raises(Retry, match="cannot be fetched"):
        fetch(changed(source, url=str(world.root / "nowhere")))


def test_links_are_refused_all_at_once(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    folder = world.root / "repository" / "experiments" / "qa"
    world.commit({"config.yaml": "one"})
    (folder / "train.json").symlink_to("/etc/passwd")
    (folder / "inner.yaml").symlink_to("config.yaml")
    world.git("add", "--all")
    world.git("commit", "--quiet", "-m", "links")
    with pytest.raises(Reject) as refused:
        fetch(world.source())
    assert "train.json is a symbolic link" in str(refused.value)
    assert "inner.yaml is a symbolic link" in str(refused.value)
    assert not (world.root / "work" / "experiment").exists()


def test_a_pointer_of_lfs_is_told(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    source = world.commit({"train.json": pointer, "config.yaml": "one"})
    with pytest.raises(Reject, match=r"train\.json: only a Git LFS pointer"):
        fetch(source)


def test_what_was_there_is_replaced_whole(world: PodWorld, fetch: Callable[[Source], Path]) -> None:
    source = world.commit({"config.yaml": "one"})
    target = fetch(source)
    (target / "stray").write_text("x", encoding="utf-8")
    fetch(source)
    assert sorted(path.name for path in target.iterdir()) == ["config.yaml"]
