"""The whole chain on the official emulators: in one process, with pull workers, and pushed to functions-framework."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.discovery import discover
from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.google import GoogleInstallation
from tests.integration.repository import Repository
from tests.standin import environment

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("emulators")]


@pytest.fixture
def installation(tmp_path: Path, standin_cache: Path) -> Iterator[GoogleInstallation]:
    made = GoogleInstallation(tmp_path / "home", standin_cache)
    yield made
    made.close()


@pytest.fixture
def repository(installation: GoogleInstallation, tmp_path: Path, git: str) -> Repository:
    return Repository(installation, tmp_path / "repository", environment.MODEL)


def test_one_process(installation: GoogleInstallation, repository: Repository) -> None:
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    installation.down()


def test_pull_workers(installation: GoogleInstallation, repository: Repository) -> None:
    installation.up(KUZNIA_SERVICES="none")
    for name in discover():
        installation.pull(name)
    ends.check(installation, Sent(run=repository.send()))
    installation.stop_workers()


def test_pushed_to_functions_framework(installation: GoogleInstallation, repository: Repository) -> None:
    for name in discover():
        installation.push(name)
    installation.reconcile(*discover())
    installation.up(KUZNIA_SERVICES="none")
    installation.wait_for_doors()
    ends.check(installation, Sent(run=repository.send()))
    installation.stop_workers()


@pytest.mark.parametrize("name", ["webhook", "training", "registration", "validation", "cards", "deployment"])
def test_each_service_killed_at_its_first_commit(
    installation: GoogleInstallation, repository: Repository, name: str
) -> None:
    """It dies with the decision made and nothing said of it; another worker of it takes over."""
    installation.up(KUZNIA_SERVICES="none")
    installation.pull(*(other for other in discover() if other != name))
    installation.pull(name, KUZNIA_KILL_AT="after-commit:1")
    run = repository.send()
    assert installation.workers[name].wait(150) == -signal.SIGKILL
    installation.pull(name)
    ends.check(installation, Sent(run=run))
    installation.stop_workers()
