"""A platform for each test, on the stand-in trainer, ended with all its processes whatever the test does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.installation import Installation
from tests.integration.repository import Repository
from tests.standin import environment


@pytest.fixture(scope="session")
def standin_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache whose trainer is the stand-in."""
    return environment.make(tmp_path_factory.mktemp("standin"))


@pytest.fixture
def installation(tmp_path: Path, standin_cache: Path) -> Iterator[Installation]:
    """A platform on the stand-in, not yet up."""
    made = Installation(tmp_path / "home", standin_cache)
    yield made
    made.close()


@pytest.fixture
def repository(installation: Installation, tmp_path: Path, git: str) -> Repository:
    """A repository whose pushes go to the platform."""
    return Repository(installation, tmp_path / "repository", environment.MODEL)
