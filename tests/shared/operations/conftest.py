"""One home in which a model went the whole way, made once and copied for every test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shared.operations.home import Home


@pytest.fixture(scope="session")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a model, the second live; a run that was refused for its config. Do not write into it."""
    folder = tmp_path_factory.mktemp("forged")
    home = Home(folder / "home")
    home.train(folder)
    home.train(folder, version="1.1.0")
    home.close()
    return folder / "home"


@pytest.fixture
def home(forged: Path, tmp_path: Path) -> Iterator[Home]:
    """A copy of it, of the test's own."""
    shutil.copytree(forged, tmp_path / "home")
    opened = Home(tmp_path / "home")
    opened.clock.move(600)
    yield opened
    opened.close()
