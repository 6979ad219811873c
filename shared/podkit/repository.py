"""One folder of a Git repository at one commit, and nothing else: no hooks, no filters, no links."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from events.parts import Source
from shared.errors import Reject, Retry
from shared.git import environment
from shared.podkit.locked import locked

_LFS = b"version https://git-lfs.github.com/spec/"
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_FILE_MODES = frozenset({"100644", "100755"})
FETCH_SECONDS = 600
LOCK_SECONDS = 900


class Entry(msgspec.Struct, frozen=True):
    """A file of the tree: its blob, and its path below the folder."""

    blob: str
    path: str


def checkout(source: Source, cache: Path, target: Path) -> None:
    """Write the experiment's folder into `target`, files read-only; what was there is replaced.

    cache: folder of bare repositories, shared by all pods. Raises Reject (no such commit, folder or another
    tree there; links, submodules, LFS pointers in it), Retry (the repository cannot be reached).
    """
    if not _COMMIT.fullmatch(source.commit):
        raise Reject(f"{source.commit!r} is not a full commit id")
    repository = cache / (hashlib.sha256(source.url.encode()).hexdigest()[:24] + ".git")
    with locked(repository.with_suffix(".lock"), LOCK_SECONDS):
        _fetch(source, repository)
    tree = _tree(source, repository)
    entries = _entries(source, repository, tree)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".checkout-", dir=target.parent) as temporary:
        fresh = Path(temporary) / "folder"
        fresh.mkdir()
        _write(repository, entries, fresh)
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)


def _fetch(source: Source, repository: Path) -> None:
    if not (repository / "HEAD").exists():
        repository.mkdir(parents=True, exist_ok=True)
        _git(repository, "init", "--quiet", "--bare", ".")
    if _has(repository, source.commit):
        return
    alone = _run(repository, "fetch", "--quiet", "--no-tags", "--depth=1", "--", source.url, source.commit)
    if alone.returncode and not _has(repository, source.commit):
        # Some servers give branches only, not any commit by its id.
        every = "+refs/heads/*:refs/heads/*"
        whole = _run(repository, "fetch", "--quiet", "--no-tags", "--prune", "--", source.url, every)
        if whole.returncode:
            raise Retry(f"{source.url} cannot be fetched: {_said(whole)}")
    if not _has(repository, source.commit):
        raise Reject(
            f"commit {source.commit} is not in {source.url} any more (was its branch deleted, or pushed over"
            " with --force?): push the experiment again"
        )


def _tree(source: Source, repository: Path) -> str:
    folder = source.experiment.strip("/").removeprefix(".")  # the root of the repository is a folder too
    found = _run(repository, "rev-parse", "--verify", "--quiet", f"{source.commit}:{folder}")
    tree = found.stdout.decode().strip()
    if found.returncode:
        raise Reject(f"commit {source.commit} has no folder {source.experiment!r}")
    if tree != source.tree:
        raise Reject(
            f"folder {source.experiment!r} of commit {source.commit} is tree {tree}, and the event says"
            f" {source.tree}: it was not made by our webhook or is damaged"
        )
    return tree


def _entries(source: Source, repository: Path, tree: str) -> list[Entry]:
    entries, faults = [], []
    for line in _git(repository, "ls-tree", "-r", "-z", "--full-tree", tree).split(b"\0")[:-1]:
        head, _, name = line.partition(b"\t")
        mode, _, blob = head.decode().split()
        path = name.decode("utf-8", "surrogateescape")
        if mode not in _FILE_MODES:
            kind = {"120000": "a symbolic link", "160000": "a submodule"}.get(mode, f"of mode {mode}")
            faults.append(f"{path} is {kind}; put the file itself there")
        elif {"..", ".", "", ".git"} & set(PurePosixPath(path).parts) or path.startswith("/"):
            faults.append(f"{path!r} is no path of a file in a folder")
        entries.append(Entry(blob, path))
    if faults:
        raise Reject(f"{source.experiment} in {source.url} at {source.commit[:12]}: " + "; ".join(faults))
    return entries


def _write(repository: Path, entries: list[Entry], folder: Path) -> None:
    with subprocess.Popen(
        ["git", "cat-file", "--batch"],
        cwd=repository, env=environment(GIT_LFS_SKIP_SMUDGE="1"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as reader:  # fmt: skip
        assert reader.stdin
        faults = [entry.path for entry in entries if _copy(reader, entry, folder / entry.path) == _LFS]
        reader.stdin.close()
    if faults:
        raise Reject(
            f"{', '.join(faults)}: only a Git LFS pointer is committed there, and LFS is not fetched;"
            " commit the file itself, or name a data set of the store or the hub"
        )


def _copy(reader: subprocess.Popen[bytes], entry: Entry, path: Path) -> bytes:
    """Write one blob, read-only; its first bytes, as many as tell an LFS pointer."""
    assert reader.stdin
    assert reader.stdout
    reader.stdin.write(entry.blob.encode() + b"\n")
    reader.stdin.flush()
    size = int(reader.stdout.readline().split()[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    head = b""
    with path.open("wb") as file:
        for block in _blocks(reader.stdout, size):
            head = head or block[: len(_LFS)]
            file.write(block)
    reader.stdout.read(1)
    path.chmod(0o444)
    return head


def _blocks(stream: object, size: int, block: int = 1 << 20) -> Iterator[bytes]:
    read = stream.read  # type: ignore[attr-defined]
    while size:
        content: bytes = read(min(size, block))
        if not content:
            raise Retry("git cat-file ended in the middle of a file")
        size -= len(content)
        yield content


def _has(repository: Path, commit: str) -> bool:
    return not _run(repository, "cat-file", "-e", f"{commit}^{{commit}}").returncode


def _git(repository: Path, *words: str) -> bytes:
    done = _run(repository, *words)
    if done.returncode:
        raise Retry(f"git {words[0]} in {repository}: {_said(done)}")
    return done.stdout


def _run(repository: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", *words],
            cwd=repository,
            env=environment(GIT_LFS_SKIP_SMUDGE="1"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Retry(f"git {words[0]} took longer than {FETCH_SECONDS} s") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode("utf-8", "replace").strip() or f"git ended with {done.returncode}"
