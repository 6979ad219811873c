"""Whether a run will fit, before a GPU is paid: from the parameter count in the base model's name.

Bytes a parameter, of the base model (both sources leave activations out):

- full, mixed precision: 16 at least (weights and gradients in 16 bits, weights and the two moments of Adam
  in 32: Rajbhandari et al., ZeRO, 2020, section 3.1), about 18 in practice; full in pure bf16: 8.
- LoRA: the weights, 2 in 16 bits, 4 where neither bf16 nor fp16 is asked for; adapter and optimizer add
  about an eighth. QLoRA: half a byte (4 bits) or one (8 bits), about 0.8 and 1.4 in practice.

The practical figures follow the table "Hardware Requirement" of LLaMA-Factory's README. To this come about
1 GB for CUDA, or for Python and torch. Only what cannot fit by the lower figure is a fault; what may not fit by
the higher one is a warning. Sharding (deepspeed, fsdp) spreads a model over all GPUs; without it each GPU holds
the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

import msgspec

from shared.experiment.experiment import Experiment
from shared.experiment.faults import Fault, nearest, shown, warning

# GB of memory of the accelerators, by GKE's names (label cloud.google.com/gke-accelerator).
GPUS = MappingProxyType(
    {
        "nvidia-tesla-p100": 16,
        "nvidia-tesla-t4": 16,
        "nvidia-tesla-v100": 16,
        "nvidia-l4": 24,
        "nvidia-tesla-a100": 40,
        "nvidia-a100-80gb": 80,
        "nvidia-h100-80gb": 80,
        "nvidia-h100-mega-80gb": 80,
        "nvidia-rtx-pro-6000": 96,
        "nvidia-h200-141gb": 141,
        "nvidia-b200": 180,
    }
)
OVERHEAD_GB = 1.0
# `8B`, `135M`, `1.7B` as a word of its own; `8x7B` is a mixture whose experts share a part.
_COUNT = re.compile(r"(?<![A-Za-z0-9.])(?:(\d+)[xX])?(\d{1,4}(?:\.\d{1,3})?)([bBmM])(?![A-Za-z0-9])")
_PLAIN_OPTIMIZERS = frozenset({"adamw_torch", "adamw_torch_fused", "adamw_apex_fused"})
_LEAN = ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """GB on one device. least: below this it cannot run. likely: with what practice adds. certain: whether
    the parameter count and the optimizer are known well enough to refuse.
    """

    parameters: float
    least: float
    likely: float
    certain: bool


def parameters(name: str) -> tuple[float, bool] | None:
    """Parameter count from a model's name, and whether it is exact; None where the name has none.

    >>> parameters("HuggingFaceTB/SmolLM2-135M-Instruct")
    (135000000.0, True)
    """
    found = [
        (int(experts or 1) * float(number) * (1e9 if unit in "bB" else 1e6), not experts)
        for experts, number, unit in _COUNT.findall(name.rsplit("/", 1)[-1])
    ]
    return max(found) if found else None


def estimate(experiment: Experiment) -> Estimate | None:
    """What training takes, or None where the size of the base model is not known."""
    counted = parameters(str(experiment.setting("model_name_or_path", "")))
    if counted is None:
        return None
    count, exact = counted
    least, likely = _bytes(experiment)
    plain = experiment.setting("optim", "adamw_torch_fused") in _PLAIN_OPTIMIZERS
    plain = plain and not any(experiment.setting(key) for key in _LEAN)
    spread = _shards(experiment)
    return Estimate(
        parameters=count,
        least=count * least / 1e9 / spread,
        likely=count * likely / 1e9 / spread + OVERHEAD_GB,
        certain=exact and plain,
    )


def check_memory(experiment: Experiment) -> Iterator[Fault]:
    """Whether GPU kind, their number and the main memory fit the run and each other."""
    yield from _gpus(experiment)
    wanted, (room, device) = estimate(experiment), _room(experiment)
    if wanted is None or not room or wanted.likely <= room:
        return
    config, model = experiment.config, experiment.manifest
    where = model.where("resources", "gpu" if experiment.has_gpu() else "memory_gb")
    tell = Fault if wanted.least > room and wanted.certain else warning
    what = (
        f"{'is too small' if tell is Fault else 'may be too small'}: {device} has {room:g} GB, and training "
        f"{wanted.parameters / 1e9:g} billion parameters ({_spoken(experiment)}) takes about {wanted.likely:.1f} GB"
    )
    mend = "take a larger one, a smaller base model, or LoRA or QLoRA"
    yield tell(where=where, what=what, mend=f"{mend} in {config.name}")


def _bytes(experiment: Experiment) -> tuple[float, float]:
    """Least and likely bytes a parameter."""
    if experiment.method() != "full":
        if experiment.quantized():
            return (0.5, 0.8) if experiment.setting("quantization_bit") == 4 else (1.0, 1.4)
        half = any(experiment.setting(key) is True for key in ("bf16", "fp16", "pure_bf16"))
        return (2.0, 2.25) if half else (4.0, 4.5)
    return (8.0, 8.0) if experiment.setting("pure_bf16") is True else (16.0, 18.0)


def _shards(experiment: Experiment) -> int:
    sharded = experiment.setting("deepspeed") or experiment.setting("fsdp")
    return max(1, _gpu_count(experiment) * _nodes(experiment)) if sharded and experiment.has_gpu() else 1


def _room(experiment: Experiment) -> tuple[float, str]:
    """GB of one device and its name; 0 where it is not known."""
    if experiment.has_gpu():
        kind = experiment.manifest.get("resources", "gpu")
        return (GPUS.get(kind, 0), kind) if isinstance(kind, str) else (0, "")
    memory = experiment.manifest.get("resources", "memory_gb")
    return (float(memory), "the node") if isinstance(memory, int | float) else (0, "")


def _gpu_count(experiment: Experiment) -> int:
    count = experiment.manifest.get("resources", "gpus")
    return count if isinstance(count, int) else int(experiment.has_gpu())


def _nodes(experiment: Experiment) -> int:
    nodes = experiment.manifest.get("resources", "nodes")
    return nodes if isinstance(nodes, int) else 1


def _spoken(experiment: Experiment) -> str:
    if experiment.method() == "full":
        return "full"
    return f"QLoRA, {experiment.setting('quantization_bit')} bits" if experiment.quantized() else "LoRA"


def _gpus(experiment: Experiment) -> Iterator[Fault]:
    manifest, kind = experiment.manifest, experiment.manifest.get("resources", "gpu")
    where, count = manifest.where("resources", "gpus"), _gpu_count(experiment)
    if isinstance(kind, str) and experiment.has_gpu() and kind not in GPUS:
        near = nearest(kind, GPUS)
        yield Fault(
            where=manifest.where("resources", "gpu"),
            what=f"is `{shown(kind)}`, a kind that is not known",
            mend=f"did you mean `{near}`?" if near else f"write none, or one of {', '.join(GPUS)}",
        )
    if experiment.has_gpu() and count == 0:
        yield Fault(
            where=where, what="is 0, while a GPU kind is named", mend="write `gpus: 1`, or `gpu: none`"
        )
    if not experiment.has_gpu() and count > 0:
        yield Fault(
            where=where, what=f"is {count}, while gpu is none", mend="name a kind, such as `gpu: nvidia-l4`"
        )
