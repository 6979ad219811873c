"""The deploy repository: folders of files that are put there and taken away, a commit each, by several at once.

Commits are made of objects in a bare mirror, without a work tree or an index of its own: whoever is killed between
commit and push leaves nothing but objects that nobody names.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from shared.errors import Reject, Retry, Unknown
from shared.git import Mirror, environment

ATTEMPTS = (
    8  # of a push that others were quicker with; each of theirs that came through is one less to wait for
)
NO_OBJECT = "0" * 40
PERSON = {
    f"GIT_{role}_{part}": word
    for role in ("AUTHOR", "COMMITTER")
    for part, word in (("NAME", "Kuznia"), ("EMAIL", "kuznia@localhost"))
}
Tree = Mapping[str, str]  # path -> blob
# Somebody else's push came first.
_RACED = re.compile(
    r"\[rejected\]|fetch first|non-fast-forward|cannot lock ref|failed to update ref|stale info"
)
# It never reached the repository.
_UNSENT = re.compile(r"resolve|refused|unreachable|no route|failed to connect", re.IGNORECASE)
# It may have been taken.
_LOST = re.compile(
    r"timed? ?out|early eof|hung up|reset|closed|rpc failed|returned error: (429|5\d\d)|broken pipe",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"couldn't find remote ref", re.IGNORECASE)


class DeployRepository:
    """home: folder of our mirror of it. seconds: how long a push may take."""

    def __init__(self, url: str, branch: str, home: Path, seconds: float = 60) -> None:
        self._url = url
        self._branch = branch
        self._path = home
        self._seconds = seconds
        self._mirror = Mirror(home)

    def read(self, folder: str) -> dict[str, str]:
        """Path below the folder -> content, as the repository has it now. Raises Retry, Reject."""
        found = self._below(self._fetch(), folder)
        return {path.removeprefix(f"{folder}/"): self._mirror.text(blob) for path, blob in found.items()}

    def folders(self, below: str, name: str) -> list[str]:
        """Folders `<below>/<anything>/<name>`, as the repository has them now. Raises Retry, Reject."""
        place = f"{below}/" if below else ""
        pattern = re.compile(rf"{re.escape(place)}[^/]+/{re.escape(name)}(?=/)")
        found = (pattern.match(path) for path in self._tree(self._fetch()))
        return sorted({match.group() for match in found if match})

    def changed(self, folder: str) -> datetime:
        """When the folder was last changed, as of the last look at the repository. Raises Retry."""
        said = self._git(["log", "-1", "--format=%cI", f"refs/heads/{self._branch}", "--", folder])
        return datetime.fromisoformat(said)

    def put(self, folder: str, files: Mapping[str, str], message: str) -> str:
        """Make the folder hold these files and no others; the commit, or empty where it does already.

        Raises Retry (cannot be reached, or others were quicker too often), Reject (refused), Unknown (no answer).
        """
        return self._change(folder, files, message)

    def remove(self, folder: str, message: str) -> str:
        """Take the folder away; the commit, or empty where it is absent. Raises as `put`."""
        return self._change(folder, {}, message)

    def _change(self, folder: str, files: Mapping[str, str], message: str) -> str:
        head = self._fetch()
        blobs = {
            f"{folder}/{path}": self._git(["hash-object", "-w", "--stdin"], content)
            for path, content in sorted(files.items())
        }
        for _ in range(ATTEMPTS):
            before = self._below(head, folder)
            if before == blobs:
                return ""
            commit = self._commit(head, before, blobs, message)
            if self._push(commit, partial(self._holds, folder, blobs)):
                return commit
            head = self._fetch()
        raise Retry(f"{self._url}: others pushed {ATTEMPTS} times while we did; again in a while")

    def _holds(self, folder: str, blobs: Tree) -> bool:
        return self._below(self._fetch(), folder) == blobs

    def _fetch(self) -> str:
        """The commit that the branch is at; empty where there is none yet."""
        try:
            self._mirror.fetch(self._url, self._branch)
        except Reject as error:
            if _ABSENT.search(str(error)):
                return ""
            raise
        return self._git(["rev-parse", "--verify", f"refs/heads/{self._branch}"])

    def _tree(self, head: str) -> dict[str, str]:
        if not head:
            return {}
        return {entry.path: entry.object for entry in self._mirror.entries(head) if entry.kind != "tree"}

    def _below(self, head: str, folder: str) -> dict[str, str]:
        return {path: blob for path, blob in self._tree(head).items() if path.startswith(f"{folder}/")}

    def _commit(self, head: str, before: Tree, after: Tree, message: str) -> str:
        lines = [f"0 {NO_OBJECT}\t{path}" for path in before if path not in after]
        lines += [f"100644 {blob}\t{path}" for path, blob in after.items()]
        with tempfile.TemporaryDirectory(prefix="kuznia-index-") as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if head:
                self._git(["read-tree", head], variables=index)
            self._git(["update-index", "--add", "--index-info"], "\n".join(lines) + "\n", index)
            tree = self._git(["write-tree"], variables=index)
        parent = ["-p", head] if head else []
        return self._git(["commit-tree", tree, *parent, "-F", "-"], message)

    def _push(self, commit: str, holds: Callable[[], bool]) -> bool:
        """Whether it came through; False where another push came first."""
        words = ["push", "--porcelain", "--", self._url, f"{commit}:refs/heads/{self._branch}"]
        try:
            code, said = self._run(words, "", {})
        except subprocess.TimeoutExpired:
            code, said = 1, f"timed out after {self._seconds:.0f} s"
        if code == 0:
            return True
        if _RACED.search(said):
            return False
        if _UNSENT.search(said):
            raise Retry(f"git push to {self._url}: {said}")
        if not _LOST.search(said):
            raise Reject(f"git push to {self._url}: {said}")
        if holds():
            return True
        raise Unknown(f"git push to {self._url}: {said}")

    def _git(self, words: list[str], stdin: str = "", variables: Mapping[str, str] | None = None) -> str:
        """Of our own mirror, where nothing fails that will not be better in a while."""
        try:
            code, said = self._run(words, stdin, variables or {})
        except subprocess.TimeoutExpired as error:
            raise Retry(f"git {words[0]} did not end within {self._seconds:.0f} s") from error
        if code:
            raise Retry(f"git {words[0]}: {said}")
        return said

    def _run(self, words: list[str], stdin: str, variables: Mapping[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            ["git", "-C", str(self._path), *words],
            env={**PERSON, **environment(GIT_CONFIG_NOSYSTEM="1"), **variables},
            input=stdin.encode(),
            capture_output=True,
            timeout=self._seconds,
            check=False,
        )
        out, err = (stream.decode(errors="replace").strip() for stream in (done.stdout, done.stderr))
        return done.returncode, f"{out} {err}".strip() if done.returncode else out
