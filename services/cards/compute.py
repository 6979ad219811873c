"""How much arithmetic a training took: estimates, each with its formula, its inputs and what it lacks.

The Commission's guidelines on general-purpose AI models (C(2025) 7719) take either formula, and ask for the
assumptions. Whoever modifies a model becomes its provider, as a rule, above a third of the original's compute;
where that is unknown, above a third of 10^23 FLOP.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.cards.facts import Facts

THRESHOLD = 1e23 / 3  # FLOP
UTILISATION = 0.4  # of the peak; assumed, a usual value for dense transformers
PEAK: Mapping[str, float] = {  # dense 16-bit FLOP/s by the vendor's data sheet, the largest variant
    "B200": 2.25e15,
    "H200": 9.89e14,
    "H100": 9.89e14,
    "A100": 3.12e14,
    "L40S": 3.62e14,
    "L4": 1.21e14,
    "A10": 1.25e14,
    "V100": 1.25e14,
    "T4": 6.5e13,
}
_SIZE_IN_NAME = re.compile(r"(?<![\dx.])(\d+(?:\.\d+)?)([MB])(?![A-Za-z0-9])", re.IGNORECASE)
_UNITS = {"M": 1e6, "B": 1e9}


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One factor. value: None where nobody said it. source: where it comes from, or what is lacking."""

    name: str
    value: float | None
    source: str


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """flop: None where an input is lacking."""

    method: str
    formula: str
    flop: float | None
    inputs: tuple[Input, ...]
    note: str = ""


def compute(facts: Facts) -> dict[str, Any]:
    """All estimates, the largest as the headline, and its share of the default threshold."""
    estimates = (_by_size(facts), _by_hardware(facts), *_by_trainer(facts))
    known = [estimate.flop for estimate in estimates if estimate.flop is not None]
    headline = max(known, default=None)
    return {
        "estimates": msgspec.to_builtins(estimates),
        "flop": headline,
        "threshold": THRESHOLD,
        "share_of_threshold": None if headline is None else headline / THRESHOLD,
    }


def number(text: Any) -> float | None:
    """A finite number of a text such as `134,515,008`, or None."""
    try:
        value = float(str(text).replace(",", "").replace("_", ""))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def _by_size(facts: Facts) -> Estimate:
    inputs = (_parameters(facts), _tokens(facts))
    full = facts.registered.artifact.kind == "model"
    return Estimate(
        method="by model size",
        formula="6 · P · D",
        flop=_product(6, inputs),
        inputs=inputs,
        note="" if full else "an upper bound: gradients of the frozen weights are not computed",
    )


def _by_hardware(facts: Facts) -> Estimate:
    device = facts.runtime("device") or ""
    peak = next((flops for name, flops in PEAK.items() if re.search(rf"\b{name}\b", device.upper())), None)
    resumed = facts.runtime("resumed_from") not in (None, "0")
    inputs = (
        _devices(facts, device),
        Input(name="L, seconds", value=number(facts.runtime("seconds")), source="training: seconds"),
        Input(
            name="H, peak FLOP/s of a device",
            value=peak,
            source=f"data sheet, 16 bit, dense ({device})"
            if peak
            else f"not known for {device or 'the device'}",
        ),
        Input(name="U, utilisation", value=UTILISATION, source="assumed"),
    )
    return Estimate(
        method="by hardware",
        formula="N · L · H · U",
        flop=_product(1, inputs),
        inputs=inputs,
        note="the run was resumed: seconds of earlier attempts may be missing" if resumed else "",
    )


def _by_trainer(facts: Facts) -> Sequence[Estimate]:
    metrics = facts.registered.metrics
    counted = metrics.get("total_flos") or metrics.get("train_total_flos")
    if not counted:
        return ()
    note = "counts the frozen weights too"
    return (
        Estimate(method="the trainer's own count", formula="total_flos", flop=counted, inputs=(), note=note),
    )


def _product(factor: float, inputs: Sequence[Input]) -> float | None:
    for given in inputs:
        if given.value is None:
            return None
        factor *= given.value
    return factor


def _parameters(facts: Facts) -> Input:
    name = "P, parameters"
    told = number(facts.runtime("parameters", "total_parameters", "all_parameters", "all_params"))
    if told is not None:
        return Input(name=name, value=told, source="training: parameters")
    base = facts.registered.artifact.base_model
    size = _SIZE_IN_NAME.search(base)
    if size is None:
        return Input(name=name, value=None, source="neither told by the trainer nor in the base model's name")
    return Input(name=name, value=float(size[1]) * _UNITS[size[2].upper()], source=f"the name {base}")


def _tokens(facts: Facts) -> Input:
    name = "D, tokens"
    told = number(facts.runtime("tokens", "train_tokens", "num_input_tokens_seen"))
    told = told if told is not None else facts.registered.metrics.get("num_input_tokens_seen")
    if told is not None:
        return Input(name=name, value=told, source="counted by the trainer")
    factors = {
        "steps": number(facts.runtime("steps")),
        "per_device_train_batch_size": number(facts.said("per_device_train_batch_size", "config.yaml")),
        "gradient_accumulation_steps": number(facts.said("gradient_accumulation_steps", "config.yaml") or 1),
        "devices": _devices(facts, facts.runtime("device") or "").value,
        "cutoff_len": number(facts.said("cutoff_len", "config.yaml")),
    }
    lacking = [factor for factor, value in factors.items() if value is None]
    if lacking:
        return Input(name=name, value=None, source=f"not counted, and no bound without {', '.join(lacking)}")
    values = [value for value in factors.values() if value is not None]
    bound = f"at most {' × '.join(factors)} = {' × '.join(f'{value:g}' for value in values)}"
    return Input(name=name, value=math.prod(values), source=bound)


def _devices(facts: Facts, device: str) -> Input:
    told = number(facts.runtime("world_size", "devices", "num_devices"))
    if told is not None:
        return Input(name="N, devices", value=told, source="training: devices")
    several = re.match(r"(\d+) × ", device)
    nodes = number(facts.said("resources.nodes") or 1) or 1
    count = float(several[1]) if several else 1.0
    return Input(name="N, devices", value=count * nodes, source=f"{count:g} a node, {nodes:g} node(s)")
