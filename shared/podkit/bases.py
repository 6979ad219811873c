"""The base model and the variables that a pod gives its trainer process."""

from __future__ import annotations

import os

from shared.errors import Reject
from shared.forge.environment import Trainer, environment
from shared.forge.models import BaseModel, resolve
from shared.settings import Settings


def base_model(settings: Settings, name: object) -> BaseModel | None:
    """The base model on this machine; None where the trainer may get it from the hub.

    Raises Reject where it is neither here nor to be had, or is no name of a model.
    """
    if not isinstance(name, str) or not name:
        raise Reject("config.yaml: model_name_or_path is missing; name a base model, as on the hub")
    found = resolve(settings.models, name)
    if found is None and offline():
        raise Reject(
            f"base model {name!r} is not on this machine ({settings.models}), and the model hub is not asked:"
            " make it there with `make trainer`, or allow the hub with HF_HUB_OFFLINE=0"
        )
    return found


def trainer_environment(trainer: Trainer, threads: int) -> dict[str, str]:
    """Variables of a trainer process: the platform's; quiet, so that its log says what matters."""
    env = environment(trainer, threads=threads) | {"LLAMAFACTORY_VERBOSITY": "WARN"}
    return env if offline() else env | {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}


def offline() -> bool:
    """Whether the model hub must not be asked; so it is, unless HF_HUB_OFFLINE says otherwise."""
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() in {"1", "true", "yes", "on"}
