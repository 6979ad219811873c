"""The effective LLaMA-Factory config: what was committed, and what only the platform can know. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from shared.errors import Reject
from shared.experiment.rules import PLATFORM_KEYS

LOGGING_STEPS = 5  # where the config says nothing: LLaMA-Factory's 500 would show no progress


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """folder: the experiment as committed. output: the trainer's. model: path of the base, or its hub name.

    nodes: how many train together, each with a disk of its own. data: folder of a dataset_info.json in place of the
    committed one.
    """

    folder: Path
    output: Path
    model: str
    gpus: int
    nodes: int = 1
    data: Path | None = None


def compose(config: dict[str, Any], places: Places) -> dict[str, Any]:
    """The config that runs. Raises Reject where `dataset_dir` leaves the folder."""
    effective = {key: value for key, value in config.items() if key not in PLATFORM_KEYS}
    effective.setdefault("logging_steps", LOGGING_STEPS)
    effective |= {
        "model_name_or_path": places.model,
        "dataset_dir": str(places.data or dataset_dir(config, places.folder)),
        "output_dir": str(places.output),
        "overwrite_output_dir": False,  # so that it resumes from the checkpoint that the pod chose
        "plot_loss": False,
        "report_to": "tensorboard" if _names(config.get("report_to"), "tensorboard") else "none",
    }
    if places.data:
        effective.setdefault(
            "media_dir", str(dataset_dir(config, places.folder))
        )  # its default is dataset_dir
    if places.nodes > 1:
        effective["save_on_each_node"] = True  # each resumes from what lies on its own disk
    if places.gpus == 0:
        if places.nodes > 1:
            effective.setdefault("ddp_backend", "gloo")
        effective["use_cpu"] = True
        for key in ("bf16", "fp16", "dataloader_pin_memory"):
            effective.setdefault(key, False)
    return effective


def dataset_dir(config: dict[str, Any], folder: Path) -> Path:
    """As a run by hand in the folder would find it. Raises Reject."""
    said = config.get("dataset_dir", "data")
    path = (folder / str(said)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Reject(
            f"config.yaml: dataset_dir {said!r} leaves the experiment's folder; put the data into it"
        )
    if not path.is_dir():
        raise Reject(f"config.yaml: dataset_dir {said!r} is no folder of the experiment")
    return path


def _names(value: Any, wanted: str) -> bool:
    return wanted in ([value] if isinstance(value, str) else value or [])
