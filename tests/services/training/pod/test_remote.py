"""The dataset_info.json that the trainer gets where the committed one names URLs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.training.pod.config import Places, compose
from services.training.pod.finish import _read_facts
from services.training.pod.remote import bring_data, clear_data, read_data
from services.training.pod.run import Run
from shared.errors import Reject
from shared.local.artifacts import DirectoryArtifacts

ROWS = b'[{"instruction": "a", "output": "b"}]'
DIGEST = hashlib.sha256(ROWS).hexdigest()


def run(root: Path, **config: Any) -> Run:
    """What these functions ask a run for."""
    return cast(
        "Run",
        SimpleNamespace(
            document=SimpleNamespace(origin=SimpleNamespace(config=config)),
            ports=SimpleNamespace(artifacts=DirectoryArtifacts(root / "artifacts")),
            prefix="runs/r-1",
            work=root / "work",
            stopping=SimpleNamespace(check=lambda: None),
        ),
    )


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An experiment of one set here, one by URL, and one by URL that nobody asks for."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "far.json").write_bytes(ROWS)
    monkeypatch.setenv("KUZNIA_DATA_ROOTS", store.as_uri())
    known = {
        "near": {"file_name": "near.json", "columns": {"prompt": "q"}},
        "far": {"file_name": f"{store.as_uri()}/far.json", "sha256": DIGEST, "formatting": "alpaca"},
        "unused": {"file_name": "gs://nowhere/x.json"},
    }
    folder = tmp_path / "work" / "experiment"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(known))
    return folder


def test_urls_become_files_and_the_rest_stays(committed: Path, tmp_path: Path) -> None:
    pod = run(tmp_path, dataset="near,far")
    folder = bring_data(pod, committed)
    assert folder
    known = json.loads((folder / "dataset_info.json").read_bytes())
    assert set(known) == {"near", "far"}
    assert known["near"] == {"file_name": str(committed / "near.json"), "columns": {"prompt": "q"}}
    assert Path(known["far"].pop("file_name")).read_bytes() == ROWS
    assert known["far"] == {"formatting": "alpaca"}, "sha256 is ours, not LLaMA-Factory's"

    url = f"{(tmp_path / 'store').as_uri()}/far.json"
    (read,) = read_data(pod.work)
    assert (read.url, read.digest, read.rows) == (url, f"sha256:{DIGEST}", 1)
    assert _read_facts(pod) == {f"data.{url}": f"sha256:{DIGEST}", f"rows.{url}": "1"}
    clear_data(pod.work)
    assert not folder.exists()
    assert read_data(pod.work), "what was read is known when the files are gone"


def test_the_trainer_is_led_there_and_finds_its_pictures_where_they_were(tmp_path: Path) -> None:
    config = {"dataset": "far", "dataset_dir": "."}
    places = Places(folder=tmp_path, output=tmp_path, model="m", gpus=1, data=tmp_path / "data")
    made = compose(config, places)
    assert (made["dataset_dir"], made["media_dir"]) == (str(tmp_path / "data"), str(tmp_path))
    assert compose(config | {"media_dir": "pictures"}, places)["media_dir"] == "pictures"


def test_without_a_url_nothing_is_rewritten(committed: Path, tmp_path: Path) -> None:
    pod = run(tmp_path, dataset="near")
    assert bring_data(pod, committed) is None
    assert read_data(pod.work) == []


def test_a_set_that_is_only_evaluated_on_is_fetched_too(committed: Path, tmp_path: Path) -> None:
    assert bring_data(run(tmp_path, dataset="near", eval_dataset=["far"]), committed)


def test_a_root_that_is_no_longer_allowed(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUZNIA_DATA_ROOTS")
    with pytest.raises(Reject, match="KUZNIA_DATA_ROOTS"):
        bring_data(run(tmp_path, dataset="far"), committed)
