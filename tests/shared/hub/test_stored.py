"""Base models out of an artifact store: copied whole, checked by their digest, or not taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import Reject
from shared.forge import models
from shared.forge.models import BaseModel
from shared.hub.client import Hub
from shared.hub.snapshot import bring
from shared.hub.stored import bring_stored
from shared.podkit.bases import base_model
from shared.ports.artifacts import Artifacts
from shared.settings import Settings
from shared.storage.open import open_artifacts
from tests.shared.hub.server import COMMIT, LATER, NAME, running


def fill(store: Artifacts, root: Path) -> BaseModel:
    """As an operator does: fetched where there is a way to the hub, then copied."""
    with running() as hub:
        found = bring(Hub(hub.endpoint), root / "there", NAME, "")
    for path in sorted((root / "there").rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.suffix != ".lock":
            store.upload(path, path.relative_to(root / "there").as_posix())
    return found


@pytest.fixture(params=["file", "artifactory", pytest.param("gcs", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    if request.param == "file":
        return open_artifacts((tmp_path / "store").as_uri())
    return open_artifacts(f"{request.getfixturevalue(request.param)}/bases-{tmp_path.name}")


@pytest.mark.parametrize("revision", ["", "main", COMMIT])
def test_it_is_what_was_copied_there(store: Artifacts, tmp_path: Path, revision: str):
    there = fill(store, tmp_path)
    here = bring_stored(store, tmp_path / "here", NAME, revision)
    assert here
    assert (here.revision, here.digest, here.licence) == (COMMIT, there.digest, "apache-2.0")
    assert here.path.parent == tmp_path / "here"
    assert models.resolve(tmp_path / "here", NAME, revision) == here


def test_what_is_not_there_is_none(store: Artifacts, tmp_path: Path):
    assert bring_stored(store, tmp_path / "here", NAME, "") is None
    fill(store, tmp_path)
    assert bring_stored(store, tmp_path / "here", NAME, LATER) is None
    assert bring_stored(store, tmp_path / "here", NAME, "v9") is None
    assert bring_stored(store, tmp_path / "here", "acme/other", "") is None


def test_a_copy_that_is_not_whole_is_not_taken(store: Artifacts, tmp_path: Path):
    fill(store, tmp_path)
    store.write(f"acme--small@{COMMIT}/model.safetensors", b"half")
    with pytest.raises(Reject, match=r"is not what its SOURCE\.json says.*copy the folder again"):
        bring_stored(store, tmp_path / "here", NAME, "")
    assert models.resolve(tmp_path / "here", NAME, COMMIT) is None


def test_a_machine_without_a_hub_takes_it_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = (tmp_path / "store").as_uri()
    there = fill(open_artifacts(url), tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("KUZNIA_BASES", url)
    settings = Settings(home=tmp_path / "home", cache=tmp_path / "cache")
    assert base_model(settings, NAME, "main").digest == there.digest
    monkeypatch.delenv("KUZNIA_BASES")
    assert base_model(settings, NAME, COMMIT).digest == there.digest, "fetched once, it is here"
    with pytest.raises(Reject, match="KUZNIA_BASES"):
        base_model(settings, NAME, LATER)
