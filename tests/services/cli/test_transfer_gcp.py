# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia export` and `import` between a home and a project on the emulators, there and back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.errors import Retry
from shared.profiles import open_ports
from shared.settings import from_environment
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import read, refused, told
from tests.shared.operations.home import Home, set_home
from tests.shared.operations.test_transfer import state, states

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]


@pytest.fixture
def log(forge: Home, tmp_path: Path) -> str:
    """The log of the forged home, with something that waits."""
    first, *_ = forge.operations.snapshot().events
    forge.operations.redeliver(first.id, "webhook")
    told("export", "events", str(tmp_path / "log.jsonl"))
    return str(tmp_path / "log.jsonl")


@pytest.fixture
def project(log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The environment's profile is a new project; its ports."""
    set_home(tmp_path / "elsewhere", monkeypatch)
    monkeypatch.setenv("KUZNIA_PROFILE", "gcp")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", f"kz-{uuid.uuid4().hex[:20]}")
    opened = open_ports(from_environment())
    yield opened
    opened.close()


def states_of(ports: Any) -> Mapping[str, tuple[object, ...]]:
    return {record.key: state(record) for record in ports.operations.snapshot().records}


def test_from_a_home_to_a_project_and_back(
    forge: Home, log: str, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = read("import", "events", log, "--reason", "we move")
    assert (made["changed"], made["waiting"]) == (True, 1)
    assert states_of(project) == states(forge)
    assert [event.id for event in project.operations.snapshot().events] == [
        event.id for event in forge.operations.snapshot().events
    ]
    assert "the project holds just this already" in told("import", "events", log)

    back = read("export", "events", str(tmp_path / "back.jsonl"))
    assert back["counts"]["decision"] == made["decisions"]
    monkeypatch.delenv("KUZNIA_PROFILE")
    set_home(tmp_path / "home-again", monkeypatch)
    read("import", "events", str(tmp_path / "back.jsonl"))
    ports = open_ports(from_environment())
    assert states_of(ports) == states(forge)
    assert [waiting.service for waiting in ports.operations.waiting()] == ["webhook"]
    ports.close()


def test_an_import_that_was_cut_off_goes_on(
    forge: Home, log: str, project: Any, monkeypatch: pytest.MonkeyPatch
):
    store = type(project.store)
    commit, left = store.commit, [20]

    def dying(self: Any, record: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Retry("the way to Firestore is cut")
        return commit(self, record)

    monkeypatch.setattr(store, "commit", dying)
    assert "is cut" in refused("import", "events", log)
    assert 0 < len(states_of(project)) < len(states(forge))
    monkeypatch.setattr(store, "commit", commit)
    assert read("import", "events", log)["changed"]
    assert states_of(project) == states(forge)
    assert not read("import", "events", log)["changed"]


def test_a_project_that_holds_something_else_is_left_alone(
    forge: Home, log: str, project: Any, monkeypatch: pytest.MonkeyPatch
):
    read("import", "events", log)
    record = project.store.load("models/team-x.llm-qa.v1@1.1.0")
    project.store.commit(msgspec.structs.replace(record, data={**record.data, "owner": "somebody"}))
    before = states_of(project)
    assert "they are others" in refused("import", "events", log)
    assert states_of(project) == before
