"""Which checkpoints are whole, over files made by hand in the formats that the trainer writes."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from services.training.pod.checkpoints import faults, finished, local_steps, step_of


def safetensors(path: Path, size: int = 64) -> None:
    header = json.dumps(
        {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "data_offsets": [0, size]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\1" * size)


def torch_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"step": 3}))
        archive.writestr("archive/data/0", b"\2" * 500)


def checkpoint(root: Path, step: int = 10) -> Path:
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    safetensors(folder / "adapter_model.safetensors")
    torch_zip(folder / "optimizer.pt")
    torch_zip(folder / "scheduler.pt")
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    return folder


def cut(path: Path, keep: float = 0.5) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def test_a_whole_one_has_no_faults(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    assert faults(folder) == []
    assert finished(folder)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda f: (f / "optimizer.pt").unlink(), "the optimizer's state is missing"),
        (lambda f: (f / "scheduler.pt").unlink(), "scheduler.pt is missing"),
        (lambda f: (f / "trainer_state.json").unlink(), "trainer_state.json is missing"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "weights are missing"),
        (lambda f: cut(f / "optimizer.pt"), "optimizer.pt is cut short"),
        (lambda f: cut(f / "scheduler.pt", 0.9), "scheduler.pt is cut short"),
        (lambda f: cut(f / "optimizer.pt", 0), "optimizer.pt is cut short"),
        (lambda f: cut(f / "trainer_state.json"), "trainer_state.json is cut short"),
        (lambda f: cut(f / "adapter_model.safetensors", 0.9), "and its header says"),
        (lambda f: cut(f / "adapter_model.safetensors", 0.2), "has no whole header"),
        (lambda f: cut(f / "adapter_model.safetensors", 0), "has no whole header"),
        (lambda f: (f / "trainer_state.json").write_text('{"global_step": 9}'), "is of step 9"),
        (lambda f: (f / "trainer_state.json").write_text("[]"), "is of step None"),
    ],
)
def test_each_fault_is_seen(tmp_path: Path, break_it: Callable[[Path], object], said: str) -> None:
    folder = checkpoint(tmp_path)
    break_it(folder)
    assert any(said in fault for fault in faults(folder)), faults(folder)


def test_damage_inside_a_zip_is_seen(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    content = bytearray((folder / "optimizer.pt").read_bytes())
    place = content.index(b"\2" * 100)
    content[place + 50] ^= 0xFF
    (folder / "optimizer.pt").write_bytes(content)
    assert faults(folder) == ["optimizer.pt: archive/data/0 is damaged"]


def test_old_pickles_are_read_to_their_end(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    whole = pickle.dumps({"state": list(range(1000))})
    (folder / "optimizer.pt").write_bytes(whole)
    assert faults(folder) == []
    (folder / "optimizer.pt").write_bytes(whole[:-1])
    assert faults(folder) == ["optimizer.pt is cut short"]


def test_shards_must_all_be_there(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "adapter_model.safetensors").unlink()
    safetensors(folder / "model-00001-of-00002.safetensors")
    safetensors(folder / "model-00002-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert faults(folder) == []
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert faults(folder) == ["model-00002-of-00002.safetensors is missing"]
    (folder / "model.safetensors.index.json").write_text("{", encoding="utf-8")
    assert faults(folder) == ["model.safetensors.index.json is cut short"]


def test_weights_alone_are_finished_but_nothing_to_go_on_from(tmp_path: Path) -> None:
    """`save_only_model: true`."""
    folder = checkpoint(tmp_path)
    (folder / "optimizer.pt").unlink()
    (folder / "scheduler.pt").unlink()
    assert finished(folder)
    assert faults(folder)


def test_sharded_optimizers_are_their_own(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    (folder / "optimizer.pt").unlink()
    (folder / "scheduler.pt").unlink()
    (folder / "latest").write_text("global_step10", encoding="utf-8")
    assert faults(folder) == []


def test_names(tmp_path: Path) -> None:
    for step in (5, 40, 100):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-x").mkdir()
    (tmp_path / "tmp-checkpoint-7").mkdir()
    (tmp_path / "checkpoint-9").write_text("a file", encoding="utf-8")
    assert local_steps(tmp_path) == [5, 40, 100]
    assert step_of(tmp_path / "checkpoint-48") == 48
    assert step_of(tmp_path / "checkpoint--1") is None
    shutil.rmtree(tmp_path)
    assert local_steps(tmp_path) == []
