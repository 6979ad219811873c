"""Brings weights to where an engine will look for them, or checks those that are there.

`python -m services.deployment.pod.fetch` is the chart's init container. It reads KUZNIA_FETCH, a JSON file
(`Asked`). A folder is there whole and checked, or not at all. Exit codes: 0; 1 where the weights are not had, or
are not those that were registered: nothing is served then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from services.deployment.pod.bring import Part, Signer, bring, say
from services.deployment.pod.current import Current, current
from shared.errors import KuzniaError, Reject
from shared.podkit.manifests import Manifest
from shared.podkit.patience import Patience
from shared.podkit.weights import lora_rank

VARIABLE = "KUZNIA_FETCH"
WEIGHTS = "weights"
RECEIPT = "current.json"  # beside the folder of the weights: which version they are


class Registry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asked for the weights' url and digest. version: empty for the live one."""

    url: str
    model_id: str
    version: str = ""


class Follow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """engine: its URL. name: of the adapter, as clients say it. seconds: between two questions to the registry."""

    engine: str
    name: str
    seconds: float = 30


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """kind, base_model, chat_template, max_rank: what the engine is told, so that it is not told what is not so.

    chat_template: a file beside an adapter's weights; empty: none is needed. max_rank: of an adapter; 0: any.
    public_key: file; empty: weights that nobody signed are fine. signature: its file's name beside the manifest.
    follow: for who stands beside the engine (`follow.py`).
    """

    parts: tuple[Part, ...]
    kind: Literal["adapter", "model"]
    base_model: str = ""
    chat_template: str = ""
    max_rank: int = 0
    registry: Registry | None = None
    follow: Follow | None = None
    public_key: str = ""
    signature: str = "manifest.json.sig"

    @property
    def signer(self) -> Signer | None:
        """Whose signature the weights must have."""
        return Signer(key=Path(self.public_key), file=self.signature) if self.public_key else None


def main(environ: Mapping[str, str] = os.environ) -> int:
    """As the cluster starts it."""
    try:
        fetch(read(environ), Patience())
    except (KuzniaError, OSError) as error:
        say(f"the weights are not here: {error}")
        return 1
    return 0


def read(environ: Mapping[str, str]) -> Asked:
    """What is asked for. Raises Reject naming what is missing or wrong."""
    path = environ.get(VARIABLE)
    if not path:
        raise Reject(f"{VARIABLE} is not set: it names a JSON file, as the chart writes it")
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Asked)
    except OSError as error:
        raise Reject(f"{VARIABLE}: {error}") from error
    except msgspec.DecodeError as error:
        raise Reject(f"{path}: {error}") from error


def fetch(asked: Asked, patience: Patience) -> None:
    """All parts, one after the other. Raises Reject, Retry."""
    for part in asked.parts:
        if part.name != WEIGHTS:
            _tell(part, bring(part, None, patience))
        elif asked.registry is None:
            fetch_weights(part, asked, patience)
        else:
            found = ask_registry(asked.registry, patience)
            fetch_current(part, asked, found, patience)
            receipt = Path(part.folder).with_name(RECEIPT)
            receipt.write_bytes(msgspec.json.encode(found))


def ask_registry(registry: Registry, patience: Patience) -> Current:
    """Which version is current. Raises Reject, Retry."""
    return patience.insist(
        "asking the registry", lambda: current(registry.url, registry.model_id, registry.version)
    )


def fetch_current(part: Part, asked: Asked, found: Current, patience: Patience) -> None:
    """The version that the registry named. Raises Reject, Retry."""
    say(f"the registry names version {found.version}")
    told = msgspec.structs.replace(part, url=found.url, manifest_digest=found.manifest_digest)
    fetch_weights(told, asked, patience)


def fetch_weights(part: Part, asked: Asked, patience: Patience) -> None:
    """The weights, which must be what the engine was told that they are. Raises Reject, Retry."""
    manifest = bring(part, asked.signer, patience)
    if manifest is not None:
        _require_told(manifest, asked)
    if asked.kind == "adapter" and part.folder:
        _require_fits(lora_rank(Path(part.folder)), asked.max_rank)
    _tell(part, manifest)


def _require_told(manifest: Manifest, asked: Asked) -> None:
    faults = []
    if manifest.kind != asked.kind:
        faults.append(f"model.kind is {asked.kind}, and these weights are of kind {manifest.kind}")
    elif asked.kind == "adapter" and asked.base_model and manifest.base_model != asked.base_model:
        faults.append(
            f"model.base.id is {asked.base_model}, and this adapter was trained on {manifest.base_model}"
        )
    names = {file.path for file in manifest.files}
    if asked.chat_template and asked.chat_template not in names:
        faults.append(
            f"there is no {asked.chat_template}: set vllm.chatTemplate to what lies there, or to nothing"
        )
    if faults:
        raise Reject("; ".join(faults))


def _require_fits(rank: int, most: int) -> None:
    if most and rank > most:
        raise Reject(f"the adapter's rank is {rank}, and vllm.maxLoraRank is {most}: raise it")


def _tell(part: Part, manifest: Manifest | None) -> None:
    if manifest is None:
        say(f"{part.name}: there, and not verified: {part.url}")
        return
    size = f"{len(manifest.files)} files, {manifest.size / 1e6:.1f} MB"
    say(f"{part.name}: {size}, as {part.manifest_digest} says ({part.verify})")


if __name__ == "__main__":
    sys.exit(main())
