"""The effective config."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.training.pod.config import Places, compose
from shared.errors import Reject


@pytest.fixture
def places(tmp_path: Path) -> Places:
    (tmp_path / "folder" / "data").mkdir(parents=True)
    return Places(folder=tmp_path / "folder", output=tmp_path / "out", model="/models/base", gpus=0)


def test_the_platform_sets_what_only_it_knows(places: Places) -> None:
    committed = {
        "model_name_or_path": "org/base",
        "learning_rate": 1e-3,
        "output_dir": "/elsewhere",
        "overwrite_output_dir": True,
        "resume_from_checkpoint": "/elsewhere/checkpoint-1",
        "report_to": "wandb",
        "plot_loss": True,
    }
    effective = compose(committed, places)
    assert effective == {
        "model_name_or_path": "/models/base",
        "learning_rate": 1e-3,
        "output_dir": str(places.output),
        "overwrite_output_dir": False,
        "dataset_dir": str(places.folder / "data"),
        "report_to": "none",
        "plot_loss": False,
        "logging_steps": 5,
        "use_cpu": True,
        "bf16": False,
        "fp16": False,
        "dataloader_pin_memory": False,
    }
    assert committed["output_dir"] == "/elsewhere", "what was committed stays as it is"


def test_a_gpu_is_left_as_committed(places: Places) -> None:
    on_gpu = Places(folder=places.folder, output=places.output, model="m", gpus=1)
    effective = compose({"bf16": True, "logging_steps": 1}, on_gpu)
    assert effective["bf16"] is True
    assert effective["logging_steps"] == 1
    assert "use_cpu" not in effective


@pytest.mark.parametrize(
    ("said", "kept"),
    [("tensorboard", "tensorboard"), (["wandb", "tensorboard"], "tensorboard"), ([], "none")],
)
def test_only_tensorboard_is_reported_to(places: Places, said: object, kept: str) -> None:
    assert compose({"report_to": said}, places)["report_to"] == kept


def test_the_data_lies_in_the_folder(places: Places) -> None:
    assert compose({"dataset_dir": "."}, places)["dataset_dir"] == str(places.folder)
    with pytest.raises(Reject, match="leaves the experiment's folder"):
        compose({"dataset_dir": "../other"}, places)
    with pytest.raises(Reject, match="leaves the experiment's folder"):
        compose({"dataset_dir": "/etc"}, places)
    with pytest.raises(Reject, match="is no folder"):
        compose({"dataset_dir": "absent"}, places)
