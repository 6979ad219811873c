"""Which base model a pod works on: what is here, what the hub has, and what the run was pinned to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.errors import Reject
from shared.forge import models
from shared.hub.client import Hub
from shared.hub.snapshot import bring
from shared.local.artifacts import DirectoryArtifacts
from shared.podkit.bases import base_model, pinned
from shared.settings import Settings
from tests.shared.hub.server import COMMIT, LATER, NAME, FakeHub, running

PLACE = "tenants/team-x/runs/r-0123456789abcdef"


class Machine(NamedTuple):
    settings: Settings
    artifacts: DirectoryArtifacts


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running() as made:
        monkeypatch.setenv("HF_ENDPOINT", made.endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield made


def machine(root: Path, name: str, artifacts: Path) -> Machine:
    """A machine with a cache of its own and the store that all have."""
    settings = Settings(home=root / name / "home", cache=root / name / "cache")
    return Machine(settings, DirectoryArtifacts(artifacts))


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return machine(tmp_path, "here", tmp_path / "artifacts")


def made_here(ports: Machine, revision: str = "recipe-1") -> models.Source:
    path = models.folder(ports.settings.models, NAME)
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"made")
    return models.write_source(
        path, models.Source(name=NAME, revision=revision, licence="mit", origin="a test")
    )


def test_a_model_that_was_made_here_is_taken_and_the_hub_not_asked(hub: FakeHub, here: Machine):
    made = made_here(here)
    assert base_model(here.settings, NAME).digest == made.digest
    assert base_model(here.settings, NAME, "recipe-1").digest == made.digest
    assert hub.asked == []


def test_a_revision_that_is_asked_for_is_not_what_was_made_here(hub: FakeHub, here: Machine):
    made = made_here(here)
    found = base_model(here.settings, NAME, "v1.0")
    assert (found.revision, found.digest == made.digest) == (COMMIT, False)


def test_a_branch_is_asked_for_anew_where_that_may_be(hub: FakeHub, here: Machine):
    assert base_model(here.settings, NAME).revision == COMMIT
    hub.refs["main"] = LATER
    assert base_model(here.settings, NAME).revision == LATER
    assert base_model(here.settings, NAME, COMMIT).revision == COMMIT


class TestOffline:
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)  # so it is unless said otherwise

    @pytest.mark.parametrize("revision", ["", "main", COMMIT])
    def test_it_says_what_is_missing_and_how_to_fetch_it(self, here: Machine, revision: str):
        at = f"@{revision}" if revision else ""
        with pytest.raises(Reject) as caught:
            base_model(here.settings, NAME, revision)
        said = str(caught.value)
        assert said.startswith(f"base model acme/small{at} is not on this machine ({here.settings.models}")
        assert f"`kuznia bases fetch acme/small{at}`" in said
        assert "HF_HUB_OFFLINE=0" in said

    @pytest.mark.parametrize("revision", ["", "main", COMMIT])
    def test_what_was_fetched_before_is_there_under_all_its_names(self, here: Machine, revision: str):
        with running() as hub:
            found = bring(Hub(hub.endpoint), here.settings.models, NAME, "")
        assert base_model(here.settings, NAME, revision) == found

    def test_a_branch_that_was_never_asked_for_is_not_there(self, here: Machine):
        with running() as hub:
            bring(Hub(hub.endpoint), here.settings.models, NAME, COMMIT)
        with pytest.raises(Reject, match="acme/small@main is not on this machine"):
            base_model(here.settings, NAME, "main")

    @pytest.mark.parametrize("name", [None, "", 7])
    def test_a_config_that_names_none(self, here: Machine, name: object):
        with pytest.raises(Reject, match="model_name_or_path is missing"):
            base_model(here.settings, name)


class TestPinned:
    def test_all_pods_of_a_run_and_all_its_starts_work_on_one_revision(
        self, hub: FakeHub, here: Machine, tmp_path: Path
    ):
        first = pinned(*here, PLACE, NAME, "main")
        hub.refs["main"] = LATER
        there = machine(tmp_path, "there", tmp_path / "artifacts")
        assert (first.revision, pinned(*here, PLACE, NAME, "main")) == (COMMIT, first)
        assert pinned(*there, PLACE, NAME, "main").revision == COMMIT
        assert pinned(*there, f"{PLACE}0", NAME, "main").revision == LATER, "another run asks again"

    def test_who_comes_second_in_the_same_moment_takes_the_firsts_word(
        self, hub: FakeHub, here: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        there = machine(tmp_path, "there", tmp_path / "artifacts")
        create = DirectoryArtifacts.create

        def late(self: DirectoryArtifacts, path: str, content: bytes) -> object:
            monkeypatch.setattr(DirectoryArtifacts, "create", create)
            hub.refs["main"] = LATER
            assert pinned(*there, PLACE, NAME, "main").revision == LATER
            return create(self, path, content)

        monkeypatch.setattr(DirectoryArtifacts, "create", late)
        assert pinned(*here, PLACE, NAME, "main").revision == LATER
        assert base_model(here.settings, NAME, COMMIT), "what it had fetched stays"

    def test_what_was_made_here_is_pinned_by_its_recipe(self, here: Machine, tmp_path: Path):
        made = made_here(here)
        assert pinned(*here, PLACE, NAME, "").digest == made.digest
        there = machine(tmp_path, "there", tmp_path / "artifacts")
        made_here(there, "recipe-2")
        with pytest.raises(Reject, match="acme/small@recipe-1 is not on this machine"):
            pinned(*there, PLACE, NAME, "")
