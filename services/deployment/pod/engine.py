"""From the pod's document to what its engine is told. Pure."""

from __future__ import annotations

from pathlib import Path

import msgspec

from services.deployment.pod.document import Document
from shared.forge.serving import Adapters, Serving, rank


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """weights: folder of the checked artifact. base: path of the base model, or its hub name. gpus: seen here.

    threads: for one process. rank: of the adapter; 0 for a whole model. chat_template: file of the adapter's own.
    """

    weights: Path
    base: str
    gpus: int
    threads: int = 1
    rank: int = 0
    chat_template: str = ""


def serving(document: Document, places: Places, address: str) -> Serving:
    """What is to be served. Raises Reject for a rank that vLLM cannot serve."""
    whole = document.artifact.kind == "model"
    vllm = document.engine == "vllm"
    name = document.engine_model or document.model
    adapters = None
    if vllm and not whole:
        adapters = Adapters(max_rank=rank(places.rank), first={name: str(places.weights)})
    return Serving(
        engine=document.engine,
        name=document.base_model if adapters else name,
        address=address,
        place=str(places.weights) if whole else places.base,
        adapter="" if vllm or whole else str(places.weights),
        adapters=adapters,
        template=document.template,
        chat_template="" if whole else places.chat_template,
        generation=document.generation,
        max_concurrent=document.max_concurrent,
        gpus=places.gpus,
        threads=places.threads,
        drain_seconds=max(1, document.grace_seconds - 5),
    )
