"""Sections 4 and 5: what the model learned from, and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from services.cards.compute import compute
from services.cards.facts import Facts, stated

_IN_SHORT = (
    "stage finetuning_type quantization_bit quantization_method lora_rank lora_alpha lora_dropout lora_target"
    " use_dora freeze_trainable_layers learning_rate lr_scheduler_type warmup_steps warmup_ratio"
    " num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps cutoff_len template"
    " packing bf16 fp16 weight_decay optim max_grad_norm seed data_seed"
)
IN_SHORT = tuple(_IN_SHORT.split())  # the hyperparameters a reader looks for first, in this order
RUNTIME_FIRST = ("device", "devices", "platform", "seconds", "steps", "tokens", "peak_memory_mb", "start")
VERSIONS = (
    "llamafactory",
    "torch",
    "transformers",
    "peft",
    "trl",
    "datasets",
    "accelerate",
    "cuda",
    "python",
)
ROWS_ARE: Mapping[str, str] = {
    "pt": "text: plain documents (pre-training)",
    "sft": "text: instructions with their answers (supervised fine-tuning)",
    "rm": "text: instructions with a preferred and a rejected answer (reward model)",
    "ppo": "text: instructions (reinforcement learning)",
    "dpo": "text: instructions with a preferred and a rejected answer (preference optimisation)",
    "kto": "text: answers marked as wanted or unwanted (preference optimisation)",
}
_DATA_FILE = re.compile(r"(?:data|rows)\.(.+)")
_SECRET = re.compile(r"(^|_)(token|password|secret|api_key)$")


def data(facts: Facts) -> dict[str, Any]:
    """Section 4. files: what the trainer read, where the pod told of it."""
    names = ("id", "description", "sources", "licence", "preprocessing", "biases")
    stage = str(facts.said("stage", "config.yaml") or "")
    return {
        **{name: facts.said(f"data.{name}") for name in names},
        "types": ROWS_ARE.get(stage),
        "datasets": _listed(facts.said("dataset", "config.yaml")),
        "held_out": _listed(facts.said("eval_dataset", "config.yaml")),
        "files": _files(facts.registered.runtime),
        "tree": facts.registered.origin.source.tree,
    }


def methods(facts: Facts) -> dict[str, Any]:
    """Section 5."""
    artifact, runtime = facts.registered.artifact, facts.registered.runtime
    config = facts.registered.origin.config
    ran = {name: value for name, value in runtime.items() if not _DATA_FILE.fullmatch(name)}
    versions = {name: ran.pop(name) for name in VERSIONS if name in ran}
    return {
        "base_model": stated(artifact.base_model),
        "base_revision": stated(artifact.base_revision),
        "base_digest": stated(artifact.base_digest),
        "technique": technique(config),
        "result": "an adapter on the base model" if artifact.kind == "adapter" else "a whole model",
        "seed": config.get("seed"),
        "in_short": _settings(config, IN_SHORT),
        "other_settings": _settings(config, sorted(set(config) - set(IN_SHORT))),
        "versions": versions,
        "runtime": {name: ran[name] for name in _ordered(ran, RUNTIME_FIRST)},
        "metrics": {name: facts.registered.metrics[name] for name in sorted(facts.registered.metrics)},
        "compute": compute(facts),
    }


def technique(config: Mapping[str, Any]) -> str | None:
    """What a person calls it: `LoRA, rank 16`, `QLoRA, 4 bit, rank 16`, `full fine-tuning`."""
    kind: str | None = stated(config.get("finetuning_type"))
    bits, rank = config.get("quantization_bit"), config.get("lora_rank")
    if kind != "lora":
        return {"full": "full fine-tuning", "freeze": "fine-tuning of some layers"}.get(str(kind), kind)
    words = [f"QLoRA, {bits} bit" if bits else "LoRA", f"rank {rank}" if rank else ""]
    return ", ".join(word for word in words if word)


def _settings(config: Mapping[str, Any], names: Iterable[str]) -> list[dict[str, Any]]:
    """A config's values in this order. A secret has no business there; if one is, the card does not repeat it."""
    set_here = [name for name in names if config.get(name) is not None]
    return [
        {"name": name, "value": "(withheld)" if _SECRET.search(name) else config[name]} for name in set_here
    ]


def _ordered(names: Iterable[str], first: Iterable[str]) -> list[str]:
    known = list(names)
    return [name for name in first if name in known] + sorted(set(known) - set(first))


def _listed(value: Any) -> list[str] | None:
    """LLaMA-Factory takes `a,b` as well as a list."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    names: list[str] | None = stated([str(part) for part in parts])
    return names


def _files(runtime: Mapping[str, str]) -> list[dict[str, str | None]]:
    """`data.<file>` tells a digest, `rows.<file>` a number of rows."""
    names = sorted({found[1] for name in runtime if (found := _DATA_FILE.fullmatch(name))})
    return [
        {"name": name, "digest": runtime.get(f"data.{name}"), "rows": runtime.get(f"rows.{name}")}
        for name in names
    ]
