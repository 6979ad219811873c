"""What a run needs before it can train: its folder at its commit, its base model, its config."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from services.training.pod.config import Places, compose
from services.training.pod.run import Run
from shared.errors import Reject
from shared.forge.environment import environment
from shared.forge.models import BaseModel, resolve
from shared.podkit import repository
from shared.podkit.machine import visible_gpus
from shared.podkit.patience import Patience
from shared.settings import Settings


def base_model(settings: Settings, name: object) -> BaseModel | None:
    """The base model on this machine; None where the trainer may get it from the hub.

    Raises Reject where it is neither here nor to be had, or is no name of a model.
    """
    if not isinstance(name, str) or not name:
        raise Reject("config.yaml: model_name_or_path is missing; name a base model, as on the hub")
    found = resolve(settings.models, name)
    if found is None and _offline():
        raise Reject(
            f"base model {name!r} is not on this machine ({settings.models}), and the model hub is not asked:"
            " make it there with `make trainer`, or allow the hub with HF_HUB_OFFLINE=0"
        )
    return found


def fetch(run: Run) -> Path:
    """Write the folder and the effective config; the path of the latter. Raises Reject, Retry."""
    source = run.document.origin.source
    cache = run.ports.settings.home / "git"
    Patience().insist("fetching the experiment", lambda: repository.checkout(source, cache, run.folder))
    places = Places(
        folder=run.folder,
        output=run.output,
        model=str(run.base.path) if run.base else run.base_name,
        gpus=visible_gpus(),
    )
    text = yaml.safe_dump(compose(run.document.origin.config, places), sort_keys=True, allow_unicode=True)
    path = run.work / "effective.yaml"
    path.write_text(text, encoding="utf-8")
    if run.leads:
        run.ports.artifacts.write(f"{run.prefix}/effective.yaml", text.encode())
    return path


def trainer_environment(run: Run) -> dict[str, str]:
    """The trainer's variables: the platform's, and torchrun's where the run has several GPUs or nodes."""
    env = environment(run.trainer, threads=run.document.threads) | {"LLAMAFACTORY_VERBOSITY": "WARN"}
    if not _offline():
        env |= {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    gpus = int(run.document.resources.get("gpus") or 0)
    nodes = int(run.document.resources.get("nodes") or 1)
    if gpus > 1 or nodes > 1:
        env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(max(gpus, 1))}
        env.setdefault("NNODES", str(nodes))
    return env


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() in {"1", "true", "yes", "on"}
