"""What a machine must have for this, asked for before anything is started; all that is missing at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shared.errors import Reject
from shared.forge import environment, models, vllm
from shared.podkit.machine import visible_gpus
from shared.settings import Settings

GPU = (
    "an NVIDIA GPU: this machine shows none (`nvidia-smi -L`; in a container `docker run --gpus all`,"
    " and CUDA_VISIBLE_DEVICES must not hide it)"
)


def missing(settings: Settings, parts: Sequence[str], model: str, *, cpu: bool) -> list[str]:
    """A line each. cpu: go on without a GPU, to try this script; its figures then say nothing of GPUs."""
    found = [] if cpu or visible_gpus() else [GPU]
    environments: dict[str, Callable[[Path], object]] = {
        "training": environment.require,
        "serving": vllm.require,
    }
    for part in parts:
        try:
            environments[part](settings.cache)
        except Reject as error:
            found.append(f"an environment: {error}")
    if models.resolve(settings.models, model) is None:
        found.append(
            f"the base model {model} below {settings.models}: `kuznia bases` says how it comes there"
        )
    return found
