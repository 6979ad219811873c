"""The few Git questions we ask, through the user's own `git`: nothing is ever checked out, nothing is run."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shared.errors import Reject, Retry

TIMEOUT_SECONDS = 120.0
# Hooks, prompts and the user's own settings have no business in a fetch of ours.
# What ties git to the repository that called us, as a hook does; see `git rev-parse --local-env-vars`.
_TIES = frozenset(
    f"GIT_{name}"
    for name in (
        "ALTERNATE_OBJECT_DIRECTORIES", "COMMON_DIR", "DIR", "GRAFT_FILE", "IMPLICIT_WORK_TREE", "INDEX_FILE",
        "NAMESPACE", "OBJECT_DIRECTORY", "PREFIX", "QUARANTINE_PATH", "SHALLOW_FILE", "WORK_TREE",
    )
)  # fmt: skip
# What git says of a network or a disk that may be better in a while; all else is a verdict.
_PASSING = re.compile(
    r"could ?n.t (resolve|connect)|could not resolve|failed to connect|connection (refused|reset|timed out|closed)"
    r"|timed out|timeout|temporary failure|network is unreachable|no route to host|early eof|hung up unexpectedly"
    r"|rpc failed|returned error: (429|5\d\d)|no space left|resource temporarily unavailable|unable to create thread",
    re.IGNORECASE,
)
_MODES = {"120000": "symlink", "160000": "submodule", "040000": "tree"}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a tree. kind: file, symlink, submodule or tree. object: its id. size: bytes, of a file."""

    path: str
    kind: str
    object: str
    size: int = 0


class Mirror:
    """A bare repository of ours into which we fetch; several processes may use it at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def fetch(self, url: str, branch: str) -> None:
        """Get a branch as it is now. Raises Retry (no answer), Reject (no such repository or branch)."""
        with self._locked():
            if not (self._path / "HEAD").exists():
                run(["init", "--quiet", "--bare", str(self._path)])
            refspec = f"+refs/heads/{branch}:refs/heads/{branch}"
            self._git(["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", url, refspec])

    def has(self, commit: str) -> bool:
        """Whether this commit was ever fetched."""
        try:
            self._git(["cat-file", "-e", f"{commit}^{{commit}}"])
        except Reject:
            return False
        return True

    def entries(self, commit: str, folder: str = "") -> list[Entry]:
        """All entries of a commit below a folder, trees included, paths from the root. Raises Reject."""
        out = self._git(
            [
                "ls-tree",
                "-r",
                "-t",
                "-z",
                "--long",
                "--full-tree",
                commit,
                *([f"{folder}/"] if folder else []),
            ]
        )
        return [_entry(line) for line in out.split("\0") if line]

    def tree(self, commit: str, folder: str = "") -> str:
        """Tree id of a folder (of the root, if empty). Raises Reject."""
        return self._git(["rev-parse", "--verify", f"{commit}:{folder}"]).strip()

    def text(self, object_id: str) -> str:
        """A blob as text; bytes that are no UTF-8 are replaced."""
        return self._git(["cat-file", "blob", object_id])

    def author(self, commit: str) -> str:
        """Who wrote a commit: `name <mail>`."""
        return self._git(["show", "--no-patch", "--format=%an <%ae>", commit]).strip()

    def _git(self, arguments: list[str]) -> str:
        return run(["-C", str(self._path), *arguments])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def remote_heads(url: str) -> dict[str, str]:
    """Branch -> commit, as the repository at `url` has them now. Raises Retry or Reject."""
    lines = run(["ls-remote", "--heads", "--", url]).splitlines()
    pairs = [line.split("\t", 1) for line in lines if "\t" in line]
    return {reference.removeprefix("refs/heads/"): commit for commit, reference in pairs}


def environment(**more: str) -> dict[str, str]:
    """Ours for a git that asks nobody anything, speaks English, and is in no repository but the one it is told."""
    kept = {name: value for name, value in os.environ.items() if name not in _TIES}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"} | more


def run(arguments: list[str]) -> str:
    """Run git; its output.

    Raises Retry where network or disk did not let it, Reject otherwise; both with git's own words.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            env=environment(GIT_CONFIG_NOSYSTEM="1"),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Retry(f"git {arguments[0]} did not end within {TIMEOUT_SECONDS:.0f} s") from error
    except FileNotFoundError as error:
        raise Reject("git is not installed: install it (`apt install git`) and try again") from error
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip()
        verdict = Retry if _PASSING.search(words) else Reject
        raise verdict(f"git {' '.join(arguments)}: {words}")
    return done.stdout.decode(errors="replace")


def _entry(line: str) -> Entry:
    head, path = line.split("\t", 1)
    mode, _type, object_id, size = head.split()
    kind = _MODES.get(mode, "file")
    return Entry(path=path, kind=kind, object=object_id, size=int(size) if size.isdigit() else 0)
