"""How LLaMA-Factory's API is told what to serve: its YAML and its variables. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from services.deployment.pod.document import Document
from shared.errors import Reject

DEFAULT_GENERATION = {"do_sample": False, "max_new_tokens": 256}


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """weights: folder of the checked artifact. base: path of the base model, or its hub name."""

    weights: Path
    base: str
    gpus: int


def config(document: Document, places: Places) -> dict[str, Any]:
    """The arguments of `llamafactory-cli api`. Raises Reject for an engine that this pod does not run."""
    if document.engine != "llamafactory":
        raise Reject(f"engine {document.engine!r} is not run by this pod; write `engine: llamafactory`")
    served = {
        "template": document.template,
        "infer_backend": "huggingface",
        "infer_dtype": "auto" if places.gpus else "float32",
        "trust_remote_code": False,
        **DEFAULT_GENERATION,
        **document.generation,
    }
    if document.artifact.kind == "model":
        return served | {"model_name_or_path": str(places.weights)}
    return served | {"model_name_or_path": places.base, "adapter_name_or_path": str(places.weights)}


def variables(document: Document, address: str, api_key: str) -> dict[str, str]:
    """What the API reads from its environment. Raises Reject for an address that is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise Reject(f"KUZNIA_ADDRESS is {address!r}; it should be `host:port`, as the cluster gives it")
    named = {
        "API_HOST": host.strip("[]"),
        "API_PORT": port,
        "API_MODEL_NAME": document.engine_model or document.model,
        "MAX_CONCURRENT": str(document.max_concurrent),
    }
    return named | ({"API_KEY": api_key} if api_key else {})
