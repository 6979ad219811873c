"""A Git forge as a value, and a mirror of it with the words of `shared.git.Mirror`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
from simulation.plans import TEXTS

from shared.errors import Reject
from shared.git import Entry

EXAMPLE = Path(__file__).resolve().parents[2] / "shared" / "experiment" / "example"
NAME = "team-x/models"
BRANCH = "main"
BUDGET_HOURS = 0.002  # of a thrifty run: some of them need more
DATA = {"train.json": "1" * 40, "eval.json": "2" * 40}
RISKS = {
    "auto": ("risk_class: LIMITED_RISK", "risk_class: LIMITED_RISK"),
    "high": ("risk_class: LIMITED_RISK", "risk_class: HIGH_RISK\nrisk_analysis: https://risk.example/1"),
    "required": ("approval: auto", "approval: required"),
    "faulty": ("version: ", "versoin: "),
    "thrifty": ("  hours: 1\n", f"  hours: 1\n  budget_hours: {BUDGET_HOURS}\n"),
}


class Content(msgspec.Struct, frozen=True):
    """What an experiment says. nonce: makes other content of the same version. engine: that is to serve it.

    plan: one of `simulation.plans.TEXTS`.
    """

    name: str
    version: str
    kind: str
    nonce: int = 0
    engine: str = "llamafactory"
    plan: str = ""

    @property
    def tree(self) -> str:
        """Its tree id."""
        return _tree(self)


@cache
def _tree(content: Content) -> str:
    words = repr(content).replace(", plan=''", "")  # content without a plan is what it has always been
    return hashlib.sha1(words.encode()).hexdigest()


@cache
def texts(content: Content) -> Mapping[str, str]:
    """File -> text, of the files that are read."""
    files = {name: (EXAMPLE / name).read_text(encoding="utf-8") for name in ("config.yaml", "model.yaml")}
    manifest = files["model.yaml"].replace("{{name}}", content.name).replace("{{tenant}}", "team-x")
    manifest = manifest.replace("{{owner}}", "Team X").replace(
        "version: 1.0.0", f"version: {content.version}"
    )
    manifest = manifest.replace(*RISKS[content.kind])
    manifest = manifest.replace("engine: llamafactory", f"engine: {content.engine}")
    plan = f"  {TEXTS[content.plan]}\n" if content.plan else ""
    files["model.yaml"] = (
        f"{manifest.rstrip()}\n{plan}# {content.nonce}\n" if plan else f"{manifest}\n# {content.nonce}\n"
    )
    files["dataset_info.json"] = (EXAMPLE / "dataset_info.json").read_text(encoding="utf-8")
    return files


class Commit(msgspec.Struct, frozen=True):
    """parent: commit before, empty for the first. folders: experiment folder -> what it says."""

    id: str
    parent: str
    folders: dict[str, Content]


class Forge:
    """One repository with one branch."""

    def __init__(self) -> None:
        self.commits: dict[str, Commit] = {}
        self.head = ""

    def push(self, changes: Mapping[str, Content], *, forced: bool = False) -> tuple[str, str]:
        """A commit on the head, or instead of the head; returns the heads before and after."""
        before = self.head
        parent = self.commits[before].parent if forced and before else before
        folders = dict(self.commits[parent].folders) if parent else {}
        folders.update(changes)
        identity = hashlib.sha1(f"{parent}/{len(self.commits)}".encode()).hexdigest()
        self.commits[identity] = Commit(identity, parent, folders)
        self.head = identity
        return before, identity

    def history(self) -> list[Commit]:
        """The commits that the head can still see, newest first."""
        found, at = [], self.head
        while at:
            found.append(self.commits[at])
            at = self.commits[at].parent
        return found


class ForgeMirror:
    """See `shared.git.Mirror`: has what the branch could see whenever it was fetched."""

    def __init__(self, forge: Forge, fetched: set[str]) -> None:
        self._forge = forge
        self._fetched = fetched

    def fetch(self, _url: str, _branch: str) -> None:
        self._fetched.update(commit.id for commit in self._forge.history())

    def has(self, commit: str) -> bool:
        return commit in self._fetched

    def entries(self, commit: str, folder: str = "") -> list[Entry]:
        folders = self._commit(commit).folders
        wanted = {folder: folders[folder]} if folder else folders
        return [entry for path in sorted(wanted) for entry in _entries(path, wanted[path])]

    def tree(self, commit: str, folder: str = "") -> str:
        folders = self._commit(commit).folders
        return folders[folder].tree if folder else hashlib.sha1(commit.encode()).hexdigest()

    def text(self, object_id: str) -> str:
        return _blobs()[object_id]

    def author(self, _commit: str) -> str:
        return "Ann <ann@team-x.example>"

    def _commit(self, commit: str) -> Commit:
        if commit not in self._fetched:
            raise Reject(f"no commit {commit} was fetched")
        return self._forge.commits[commit]


@cache
def _blobs() -> dict[str, str]:
    return {}


@cache
def _entries(path: str, content: Content) -> tuple[Entry, ...]:
    entries = [Entry(path=path, kind="tree", object=content.tree)]
    for name, text in texts(content).items():
        blob = hashlib.sha1(text.encode()).hexdigest()
        _blobs()[blob] = text
        entries.append(Entry(path=f"{path}/{name}", kind="file", object=blob, size=len(text)))
    data = (Entry(path=f"{path}/{name}", kind="file", object=blob, size=9) for name, blob in DATA.items())
    return (*entries, *data)
