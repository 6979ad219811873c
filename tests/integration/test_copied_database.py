"""The database copied while it is written, and put back: it opens, holds together, and the platform goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shared.local import open_ports
from shared.ports.bus import Query
from shared.settings import Settings
from tests.integration import ends
from tests.integration.deliveries import body, post
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.repository import Repository

pytestmark = pytest.mark.slow
COPIES = 5
KINDS = ("branches", "runs", "models", "evaluations", "cards", "releases", "claims", "tokens", "repositories")


Copy = Callable[[Installation, Path], None]


def backup(installation: Installation, target: Path) -> None:
    """By SQLite's own backup, which takes its pages a few at a time."""
    source = installation.settings.database
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy, pages=16)


def raw(installation: Installation, target: Path) -> None:
    """Its files as they lie at one moment, like a snapshot of the disk: the platform stands still in mid-air."""
    os.kill(installation.pid, signal.SIGSTOP)
    try:
        for file in ("kuznia.db", "kuznia.db-wal"):
            shutil.copy(installation.home / file, target.with_name(file))
    finally:
        os.kill(installation.pid, signal.SIGCONT)


@contextmanager
def deliveries(installation: Installation, commit: str) -> Iterator[list[int]]:
    """A stream of deliveries beside; the statuses of their answers."""
    statuses: list[int] = []
    enough = threading.Event()

    def deliver() -> None:
        while not enough.is_set():
            statuses.append(post(installation, body(commit), f"d-{len(statuses)}")[0])

    thread = threading.Thread(target=deliver)
    thread.start()
    yield statuses
    enough.set()
    thread.join()


@pytest.mark.parametrize("copy", [backup, raw])
def test_copied_in_the_middle_of_writing(
    installation: Installation, repository: Repository, tmp_path: Path, copy: Copy
) -> None:
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    commit = repository.git("rev-parse", "HEAD").strip()
    homes = [tmp_path / f"copy-{number}" for number in range(COPIES)]
    with deliveries(installation, commit) as statuses:
        for home in homes:
            home.mkdir()
            least = len(statuses) + 5
            installation.wait("more deliveries", lambda least=least: len(statuses) >= least)  # type: ignore[misc]
            copy(installation, home / "kuznia.db")
    assert set(statuses) == {202}
    sizes = [_holds_together(home) for home in homes]
    assert sizes == sorted(sizes)

    installation.release()
    installation.kill_all()
    for old in installation.home.glob("kuznia.db*"):
        old.unlink()
    for file in homes[-1].glob("kuznia.db*"):
        shutil.copy(file, installation.home / file.name)
    installation.up()
    ends.answers(installation)
    second = Sent(run=repository.send(version="1.1.0"), version="1.1.0")
    ends.check(installation, second)
    assert ends.faults(installation, Sent(run=repository_run(repository, "HEAD~1")), live=False) == []


def repository_run(repository: Repository, commit: str) -> str:
    """The run that followed from an earlier commit."""
    repository.git("checkout", "--quiet", commit)
    try:
        return repository.run()
    finally:
        repository.git("checkout", "--quiet", "main")


def _holds_together(home: Path) -> int:
    """Open a copy as the platform would, and look at all of it; how many events it has."""
    with closing(sqlite3.connect(home / "kuznia.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        sql = "SELECT count(*) FROM deliveries d LEFT JOIN log l USING (position) WHERE l.position IS NULL"
        assert connection.execute(sql).fetchone() == (0,), "a delivery of an event that is not in the log"
    ports = open_ports(Settings(home=home, cache=home))
    try:
        events = [logged.event for logged in ports.bus.log(Query(limit=1_000_000))]
        known = {event.id for event in events}
        records = [record for kind in KINDS for record in ports.store.list(kind)]
        assert {record.status for record in records if record.kind == "models"} == {"DEPLOYED"}
        strangers = [
            (record.key, heard) for record in records for heard in record.inbox if heard not in known
        ]
        assert strangers == [], "decided over an event that the log does not have"
        return len(events)
    finally:
        ports.close()
