"""The Git questions, asked of real repositories."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shared import git as module
from shared.errors import Reject, Retry
from shared.git import Entry, Mirror, remote_heads, run
from tests.contracts.adapters import ROOT
from tests.repository import Repository

pytestmark = pytest.mark.usefixtures("git")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "config")


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path / "mirrors" / "config.git")


def test_a_branch_is_fetched_and_its_tree_read(repository: Repository, mirror: Mirror):
    commit = repository.commit({"README.md": "hello\n", "experiments/a/model.yaml": "name: a\n"})
    mirror.fetch(repository.url, "main")
    assert mirror.has(commit)
    entries = {entry.path: entry for entry in mirror.entries(commit)}
    assert sorted(entries) == ["README.md", "experiments", "experiments/a", "experiments/a/model.yaml"]
    assert entries["experiments/a"].kind == "tree"
    found = entries["experiments/a/model.yaml"]
    assert (found.kind, found.size) == ("file", 8)
    assert mirror.text(found.object) == "name: a\n"
    assert mirror.tree(commit, "experiments/a") == entries["experiments/a"].object
    assert mirror.tree(commit) == repository.git("rev-parse", "HEAD^{tree}")
    assert mirror.author(commit) == "Ann <ann@orlik.example>"


def test_entries_of_one_folder_only(repository: Repository, mirror: Mirror):
    commit = repository.commit({"a/one": "1", "a/b/two": "2", "ab/three": "3"})
    mirror.fetch(repository.url, "main")
    assert [entry.path for entry in mirror.entries(commit, "a")] == ["a", "a/b", "a/b/two", "a/one"]


def test_the_odd_ones_are_told_apart(repository: Repository, mirror: Mirror):
    repository.commit({"a/file": "1", "a/run.sh": "#!/bin/sh\n"})
    (repository.path / "a" / "run.sh").chmod(0o755)
    (repository.path / "a" / "link").symlink_to("/etc/passwd")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},a/sub")
    repository.git("add", "a/link", "a/run.sh")
    repository.git("commit", "--quiet", "--message", "odd")
    commit = repository.head()
    mirror.fetch(repository.url, "main")
    kinds = {entry.path: entry.kind for entry in mirror.entries(commit, "a")}
    assert kinds == {
        "a": "tree",
        "a/file": "file",
        "a/link": "symlink",
        "a/run.sh": "file",
        "a/sub": "submodule",
    }


def test_names_of_all_letters(repository: Repository, mirror: Mirror):
    names = ["żółw i spółka.txt", 'with"quote', "with\ttab", "with\nbreak", "-dash"]
    commit = repository.commit(dict.fromkeys(names, "x"))
    mirror.fetch(repository.url, "main")
    assert sorted(entry.path for entry in mirror.entries(commit)) == sorted(names)


def test_bytes_that_are_no_text_are_replaced(repository: Repository, mirror: Mirror):
    (repository.path / "raw").write_bytes(b"a\xff\r\nb")
    commit = repository.commit({})
    mirror.fetch(repository.url, "main")
    (entry,) = mirror.entries(commit)
    assert mirror.text(entry.object) == "a\ufffd\r\nb"


def test_what_was_pushed_over_is_still_there_and_the_branch_is_as_it_is_now(
    repository: Repository, mirror: Mirror
):
    first = repository.commit({"a": "1"})
    mirror.fetch(repository.url, "main")
    repository.git("commit", "--quiet", "--amend", "--message", "rewritten")
    mirror.fetch(repository.url, "main")
    assert mirror.has(first)
    assert mirror.has(repository.head())


def test_what_was_never_fetched_is_not_there(repository: Repository, mirror: Mirror):
    repository.commit({"a": "1"})
    mirror.fetch(repository.url, "main")
    later = repository.commit({"a": "2"})
    assert not mirror.has(later)
    assert not mirror.has("0" * 40)
    assert not mirror.has("main; rm -rf /")
    assert not mirror.has("--output=x")


def test_a_mirror_that_does_not_exist_has_nothing(mirror: Mirror):
    assert not mirror.has("0" * 40)


@pytest.mark.parametrize(
    ("url", "branch", "told"),
    [
        ("{there}", "missing", "missing"),
        ("{nowhere}", "main", "nowhere"),
        ("ext::sh -c 'touch {folder}/hacked'", "main", "ext"),
        ("--upload-pack=touch {folder}/hacked", "main", "upload-pack"),
    ],
)
def test_what_cannot_be_fetched_is_refused_with_git_s_words(
    repository: Repository, mirror: Mirror, tmp_path: Path, url: str, branch: str, told: str
):
    repository.commit({"a": "1"})
    named = url.format(there=repository.url, nowhere=tmp_path / "nowhere", folder=tmp_path)
    with pytest.raises(Reject, match=told):
        mirror.fetch(named, branch)
    with pytest.raises(Reject):
        remote_heads(named.replace(repository.url, str(tmp_path / "nowhere")))
    assert not (tmp_path / "hacked").exists()


def test_several_fetch_at_once(repository: Repository, mirror: Mirror):
    commit = repository.commit({"a": "1"})
    failures: list[Exception] = []

    def fetch() -> None:
        try:
            mirror.fetch(repository.url, "main")
        except Reject as error:
            failures.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert mirror.has(commit)


def test_heads_of_a_remote(repository: Repository):
    first = repository.commit({"a": "1"})
    repository.git("branch", "feature/x")
    repository.git("tag", "v1")
    second = repository.commit({"a": "2"})
    assert remote_heads(repository.url) == {"main": second, "feature/x": first}


def test_an_empty_remote_has_no_heads(repository: Repository):
    assert remote_heads(repository.url) == {}


def test_inside_a_hook_it_asks_our_repository_and_not_the_hook_s(
    repository: Repository, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    commit = repository.commit({"a": "1"})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "elsewhere" / "index"))
    mirror.fetch(repository.url, "main")
    assert mirror.has(commit)
    assert not (tmp_path / "elsewhere").exists()


def test_hooks_of_the_remote_are_not_run(repository: Repository, mirror: Mirror, tmp_path: Path):
    repository.commit({"a": "1"})
    for name in ("post-checkout", "reference-transaction", "post-merge"):
        hook = repository.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hacked\n")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    mirror.fetch(repository.url, "main")
    assert not (tmp_path / "hacked").exists()


def test_an_answer_that_does_not_come_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    slow = tmp_path / "git"
    slow.write_text(f"#!{sys.executable}\nimport time; time.sleep(60)\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "TIMEOUT_SECONDS", 0.2)
    with pytest.raises(Retry, match="git version did not end within 0 s"):
        run(["version"])


def test_without_git_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Reject, match="git is not installed: install it"):
        run(["version"])


def test_a_dead_remote_is_asked_for_again(mirror: Mirror, unused_port: int):
    """Nobody listens there now: that may pass, so it is no verdict."""
    with pytest.raises(Retry):
        mirror.fetch(f"http://127.0.0.1:{unused_port}/config.git", "main")
    with pytest.raises(Retry):
        remote_heads(f"http://127.0.0.1:{unused_port}/config.git")


@pytest.fixture
def unused_port() -> int:
    script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def test_an_entry_is_a_value():
    assert Entry(path="a", kind="file", object="1") == Entry(path="a", kind="file", object="1", size=0)
