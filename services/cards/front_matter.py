"""The card's metadata as the Hugging Face hub reads it, so that hubs and tools index it unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from services.cards.facts import Facts
from services.cards.results import COUNT, TITLES, finite

WIDTH = 110
METRIC_TYPES: Mapping[str, str] = {"exact_match": "exact_match", "rouge_l": "rouge"}
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
_READ = re.compile(r"data\.hf://datasets/([^/@]+/[^/@]+)@")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_NO_TAG = re.compile(r"[^a-z0-9]+")
_LICENCES = (
    "apache-2.0 mit bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear isc zlib ncsa unlicense wtfpl bsl-1.0 ms-pl"
    " mpl-2.0 afl-3.0 artistic-2.0 ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2 etalab-2.0 osl-3.0 postgresql ofl-1.1"
    " gpl gpl-2.0 gpl-3.0 agpl-3.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-lr gfdl lppl-1.3c odbl odc-by pddl c-uda cc cc0-1.0"
    " cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0"
    " cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0"
    " cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 openrail openrail++ creativeml-openrail-m"
    " bigscience-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m deepfloyd-if-license llama2 llama3"
    " llama3.1 llama3.2 llama3.3 llama4 gemma unknown"
)
LICENCES = frozenset(_LICENCES.split())  # that the hub knows; any other is `other`, with its name beside it


def metadata(facts: Facts) -> dict[str, Any]:
    """The keys of the hub's model cards; one that nobody said is left out, never guessed."""
    artifact = facts.registered.artifact
    adapter = artifact.kind == "adapter"
    known = {
        "language": [word for word in facts.said("language") or () if _LANGUAGE.fullmatch(word)],
        **_licence(facts.said("licence")),
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": _hub_name(artifact.base_model),
        "base_model_relation": "adapter" if adapter else "finetune",
        "datasets": _datasets(facts),
        "tags": _tags(facts),
        "model-index": [{"name": facts.registered.model.model_id, "results": _results(facts)}],
    }
    return {name: value for name, value in known.items() if value}


def dumped(values: Mapping[str, Any]) -> str:
    """Between its `---` lines. Values are quoted where YAML would read them otherwise."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=WIDTH)
    return f"---\n{text}---\n"


def _licence(said: str | None) -> dict[str, str]:
    if said is None:
        return {}
    name = _one_line(said)
    short = re.sub(r"-(only|or-later)$", "", name.lower())
    return {"license": short} if short in LICENCES else {"license": "other", "license_name": name}


def _datasets(facts: Facts) -> list[str]:
    """The hub's names of what was trained on: as the pod read it, and as a person says it."""
    read = (found[1] for name in sorted(facts.registered.runtime) if (found := _READ.match(name)))
    names = (_hub_name(name) for name in [facts.said("data.id"), *read])
    return list(dict.fromkeys(name for name in names if name))


def _tags(facts: Facts) -> list[str]:
    """`kuznia`, the tools, the technique, the tenant and the risk class, as the hub writes tags."""
    config = facts.registered.origin.config
    words = (
        "kuznia",
        "llama-factory",
        config.get("stage"),
        "qlora" if config.get("quantization_bit") else config.get("finetuning_type"),
        facts.registered.model.tenant,
        facts.said("risk_class"),
    )
    tags = [_NO_TAG.sub("-", str(word).lower()).strip("-") for word in words if word]
    return list(dict.fromkeys(tag for tag in tags if tag))


def _results(facts: Facts) -> list[dict[str, Any]]:
    """A result for the whole set, and one a group."""
    validated = facts.validated
    parts = [("", validated.metrics), *sorted(validated.groups.items())]
    return [_result(facts, group, metrics) for group, metrics in parts if _values(metrics)]


def _result(facts: Facts, group: str, metrics: Mapping[str, float]) -> dict[str, Any]:
    name = _one_line(str(facts.said("evaluation.set") or "held-out set"))
    dataset = {
        "name": f"{name}, group {_one_line(group)}" if group else name,
        "type": _hub_name(facts.said("data.id")) or "custom",
        "revision": facts.validated.set_digest,
    }
    return {
        "task": {"type": "text-generation", "name": "Text generation"},
        "dataset": {key: value for key, value in dataset.items() if value},
        "metrics": [
            {"type": METRIC_TYPES.get(metric, metric), "name": TITLES.get(metric, metric), "value": value}
            for metric, value in _values(metrics).items()
        ],
    }


def _values(metrics: Mapping[str, float]) -> dict[str, float]:
    return {
        name: metrics[name] for name in sorted(metrics) if name != COUNT and finite(metrics[name]) is not None
    }


def _hub_name(said: str | None) -> str | None:
    return said if said is not None and _HUB_NAME.fullmatch(said) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
