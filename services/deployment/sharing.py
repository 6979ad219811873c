"""Which versions share an engine: adapters of one tenant on one base, under the same options. Pure.

Such a version has no server of its own: it is loaded into the running engine in a moment. What the engine in
common cannot carry, or loses, gets a server of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from events.adapter_dropped import AdapterDropped
from events.adapter_wanted import AdapterWanted
from events.model_registered import ModelRegistered
from events.parts import Artifact
from shared.forge.serving import RANKS
from shared.identity import workload_name
from shared.service import Speech

LEAST_RANK = 16  # smaller ranks share with those of 16: room costs less than a second engine
USUAL_RANK = 8  # LLaMA-Factory's, where a config names none
# What makes an adapter more than low-rank matrices on the base as it is; vLLM cannot load that beside others.
_OWN = (
    "additional_target",
    "create_new_adapter",
    "pissa_init",
    "quantization_bit",
    "resize_vocab",
    "rope_scaling",
    "use_dora",
)


def facts_of(registered: ModelRegistered) -> dict[str, Any]:
    """engine_model: what its engine calls it. shared: the engine that it is to be loaded into; empty for a server
    of its own. max_rank: what that engine is laid out for.
    """
    model, artifact = registered.model, registered.artifact
    deployment, config = registered.origin.manifest.get("deployment", {}), registered.origin.config
    if deployment.get("engine") != "vllm":
        return {"engine_model": model.model_id, "shared": ""}
    rank = _rank(config)
    plain = artifact.kind == "adapter" and config.get("finetuning_type", "lora") == "lora" and rank
    if not plain or any(config.get(name) for name in _OWN):
        return {"engine_model": model.key, "shared": ""}
    base = (artifact.base_model, artifact.base_revision, artifact.base_digest)
    same = (model.tenant, *base, str(config.get("template", "default")), str(rank))
    digest = hashlib.sha256("\n".join(same).encode()).hexdigest()[:12]
    shared = workload_name("engine", model.tenant, digest)
    return {"engine_model": model.key, "shared": shared, "max_rank": rank}


def _rank(config: Mapping[str, Any]) -> int:
    """The size of an engine for this adapter; 0 where there is none."""
    rank = config.get("lora_rank", USUAL_RANK)
    if not isinstance(rank, int):
        return 0
    return next((size for size in RANKS if size >= max(rank, LEAST_RANK)), 0)


def wanted(version: Mapping[str, Any], model_id: str) -> Speech:
    """The engine is to carry it, under the release that it was just given."""
    said = AdapterWanted(
        engine=version["shared"],
        tenant=version["tenant"],
        template=version["template"],
        max_rank=version["max_rank"],
        release=version["release"],
        model_id=model_id,
        version=version["version"],
        engine_model=version["engine_model"],
        artifact=msgspec.convert(version["artifact"], Artifact),
    )
    return Speech(said, f"engines/{version['shared']}")


def dropped(engine: str, release: str) -> Speech:
    """The engine need not carry it any more."""
    return Speech(AdapterDropped(engine=engine, release=release), f"engines/{engine}")
