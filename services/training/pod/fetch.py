"""What a run needs before it can train: its folder at its commit, its config, its variables."""

from __future__ import annotations

from pathlib import Path

import yaml

from services.training.pod.config import Places, compose, dataset_dir
from services.training.pod.remote import bring_data
from services.training.pod.run import Run
from shared.podkit import repository
from shared.podkit.bases import trainer_environment
from shared.podkit.machine import visible_gpus
from shared.podkit.patience import Patience


def fetch(run: Run) -> Path:
    """Write the folder, its data and the effective config; the path of the latter. Raises Reject, Retry, Preempted."""
    source = run.document.origin.source
    cache = run.ports.settings.home / "git"
    Patience().insist("fetching the experiment", lambda: repository.checkout(source, cache, run.folder))
    places = Places(
        folder=run.folder,
        output=run.output,
        model=str(run.base.path) if run.base else run.base_name,
        gpus=visible_gpus(),
        nodes=run.nodes,
        data=bring_data(run, dataset_dir(run.document.origin.config, run.folder)),
    )
    text = yaml.safe_dump(compose(run.document.origin.config, places), sort_keys=True, allow_unicode=True)
    path = run.work / "effective.yaml"
    path.write_text(text, encoding="utf-8")
    if run.leads:
        place = f"{run.prefix}/effective.yaml"
        Patience().insist("keeping the config", lambda: run.ports.artifacts.write(place, text.encode()))
    return path


def variables(run: Run, threads: int) -> dict[str, str]:
    """The trainer's variables: the platform's, and torchrun's where the run has several GPUs or nodes."""
    env = trainer_environment(run.trainer, threads)
    gpus = int(run.document.resources.get("gpus") or 0)
    if gpus > 1 or run.nodes > 1:
        env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(max(gpus, 1)), "NNODES": str(run.nodes)}
    return env
