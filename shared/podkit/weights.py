"""Weights out of the artifact store, never used unless they are what was registered."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from events.parts import Artifact
from shared.errors import Reject
from shared.podkit import manifests
from shared.podkit.manifests import Manifest
from shared.ports.artifacts import Artifacts


def place(artifacts: Artifacts, artifact: Artifact, folder: Path) -> Path:
    """A local folder with exactly these weights, every file checked: in the store itself where that is local,
    else a copy in `folder`. Raises Reject where anything is not as registered, Retry.
    """
    prefix = manifests.store_path(artifacts, artifact.uri)
    manifest = _manifest(artifacts, artifact, prefix)
    local = artifacts.local(prefix)
    if local is None:
        return _copy(artifacts, prefix, manifest, folder)
    faults = manifests.faults(artifacts, prefix, manifest)
    strangers = _strangers(artifacts, prefix, manifest)
    if faults or strangers:
        raise Reject(
            f"the weights in {artifact.uri} are not those that were registered, and are not used: "
            + "; ".join([*faults, *(f"{name} is in no manifest" for name in strangers)])
        )
    return local


class _AdapterConfig(msgspec.Struct, frozen=True):
    """What adapter_config.json of PEFT says, as far as an engine must know it. rank_pattern: ranks of some layers."""

    r: int = 8
    rank_pattern: dict[str, int] = {}


def lora_rank(folder: Path) -> int:
    """The largest rank of the adapter in this folder; 0 where there is none. Raises Reject."""
    path = folder / "adapter_config.json"
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_AdapterConfig)
    except FileNotFoundError:
        return 0
    except msgspec.DecodeError as error:
        raise Reject(f"{path} does not say what kind of adapter this is: {error}") from error
    return max([told.r, *told.rank_pattern.values()])


def chat_template(folder: Path) -> str:
    """The path of the chat template that lies beside the weights, or empty."""
    path = folder / "chat_template.jinja"
    return str(path) if path.exists() else ""


def _manifest(artifacts: Artifacts, artifact: Artifact, prefix: str) -> Manifest:
    loaded = manifests.load(artifacts, prefix)
    if loaded is None:
        raise Reject(f"{artifact.uri} has no manifest, so nobody can say that its weights are whole")
    manifest, digest = loaded
    if digest != artifact.manifest_digest:
        raise Reject(
            f"the manifest of {artifact.uri} is {digest}, and {artifact.manifest_digest} was registered:"
            " the weights were exchanged, and are not used"
        )
    return manifest


def _strangers(artifacts: Artifacts, prefix: str, manifest: Manifest) -> list[str]:
    """Files beside those of the manifest: a loader might prefer them."""
    known = {f"{prefix}/{file.path}" for file in manifest.files} | {f"{prefix}/{manifests.NAME}"}
    return [path for path in artifacts.list(f"{prefix}/") if path not in known]


def _copy(artifacts: Artifacts, prefix: str, manifest: Manifest, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    manifests.download(artifacts, prefix, manifest, folder)
    return folder
