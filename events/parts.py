"""What several payloads have in common: the committed folder, where it came from, what was made of it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class FolderFile(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an experiment folder, as Git has it.

    path: relative to the folder, with `/`. size: bytes. digest: Git blob id (hex), empty for a link.
    kind: only a `file` is ever read; the others are faults of the config.
    """

    path: str
    size: int
    digest: str = ""
    kind: Literal["file", "symlink", "submodule"] = "file"


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment folder: the list of its files, and the texts of the small ones that are read to decide.

    texts: path -> content of `config.yaml`, `model.yaml` and `dataset_info.json`, where present.
    """

    files: tuple[FolderFile, ...]
    texts: dict[str, str]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where an experiment lies in Git.

    repository: its registered name. url: what `git fetch` takes. experiment: folder in the repository.
    commit: full commit id. tree: Git tree id of the folder, which is the identity of its content.
    """

    repository: str
    url: str
    experiment: str
    commit: str
    tree: str
    branch: str = ""
    author: str = ""


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The name of one version of one model, carried by every event about it.

    model_id: `<tenant>.<name>.v<major>`. version: semver, or a commit id.
    """

    model_id: str
    version: str
    tenant: str
    run_id: str

    @property
    def key(self) -> str:
        """`team-x.llm-qa.v1@1.0.0`."""
        return f"{self.model_id}@{self.version}"


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What training left in the artifact store.

    uri: prefix of its files in the store. manifest_digest: `sha256:<hex>` of the manifest, which in turn
    holds the digest of every file. base_model / base_revision / base_digest: what it was made from, and what an
    adapter is to be loaded on; the revision is the commit that a branch or tag stood for.
    """

    uri: str
    manifest_digest: str
    kind: Literal["adapter", "model"]
    base_model: str
    base_digest: str = ""
    base_revision: str = ""
    size: int = 0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Everything later services need to know of a run, so that no event sends its reader to another store.

    config: the LLaMA-Factory config as committed. manifest: `model.yaml`, checked and with defaults.
    """

    source: Source
    config: dict[str, Any]
    manifest: dict[str, Any]
