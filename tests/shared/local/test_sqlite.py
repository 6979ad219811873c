"""The group commit: one fsync for many, one caller's trouble for one, and an end for everything that waits."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Reject, Retry
from shared.local import connection
from shared.local.sqlite import Database
from tests.contracts.adapters import PATIENCE, ROOT, soon

SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "words.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path, SCHEMA)
    yield database
    database.close()


def saying(word: str) -> Callable[[sqlite3.Connection], str]:
    def say(writer: sqlite3.Connection) -> str:
        writer.execute("INSERT INTO words VALUES (?)", (word,))
        return word

    return say


def failing(word: str, error: BaseException) -> Callable[[sqlite3.Connection], str]:
    def fail(writer: sqlite3.Connection) -> str:
        writer.execute("INSERT INTO words VALUES (?)", (word,))
        raise error

    return fail


def words(database: Database) -> set[str]:
    return {row[0] for row in database.read(lambda c: c.execute("SELECT word FROM words").fetchall())}


class Blocked:
    """A writer that is held up, so that all that is written meanwhile becomes one group."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._begun, self._go_on = threading.Event(), threading.Event()
        self._pool = ThreadPoolExecutor(40)
        self._first = self._pool.submit(database.write, self._hold)
        assert self._begun.wait(PATIENCE)

    def write(self, work: Callable[[sqlite3.Connection], Any], *, durable: bool = True) -> Future[Any]:
        waiting = self.database._queue.qsize()
        future = self._pool.submit(self.database.write, work, durable=durable)
        assert soon(lambda: self.database._queue.qsize() > waiting)
        return future

    def go_on(self) -> None:
        self._go_on.set()
        self._first.result(PATIENCE)

    def _hold(self, _: sqlite3.Connection) -> None:
        self._begun.set()
        assert self._go_on.wait(PATIENCE)


class TestGroup:
    def test_what_waits_together_is_committed_together(self, database: Database):
        blocked = Blocked(database)
        futures = [blocked.write(saying(f"w-{number}")) for number in range(30)]
        statements: list[str] = []
        database._writer.set_trace_callback(statements.append)
        blocked.go_on()
        assert [future.result(PATIENCE) for future in futures] == [f"w-{number}" for number in range(30)]
        assert statements.count("COMMIT") == 2  # the one that was held up, and all the rest
        assert len(words(database)) == 30

    def test_many_at_once_are_answered_in_their_places(self, database: Database):
        answers = database.write_all([saying("a"), failing("b", Reject("no")), saying("c")])
        assert (answers[0], str(answers[1]), answers[2]) == ("a", "no", "c")
        assert isinstance(answers[1], Reject)
        assert words(database) == {"a", "c"}

    def test_nothing_at_once_is_nothing(self, database: Database):
        assert database.write_all([]) == []

    @pytest.mark.parametrize("error", [Reject("no"), KeyError("bug"), SystemExit(3), KeyboardInterrupt()])
    def test_one_that_fails_is_undone_and_the_rest_of_its_group_is_not(
        self, database: Database, error: BaseException
    ):
        blocked = Blocked(database)
        before, bad, after = (blocked.write(w) for w in (saying("a"), failing("b", error), saying("c")))
        blocked.go_on()
        assert (before.result(PATIENCE), after.result(PATIENCE)) == ("a", "c")
        assert bad.exception(PATIENCE) is error
        assert words(database) == {"a", "c"}
        assert database.write(saying("d")) == "d"  # the writer lives

    @pytest.mark.parametrize(
        "work",
        [
            saying("a"),
            lambda c: c.execute("INSERT INTO words VALUES (?)", (object(),)),
            lambda c: c.execute("SELECT * FROM nowhere"),
        ],
        ids=["constraint", "type", "table"],
    )
    def test_one_statement_s_fault_is_a_retry_for_its_caller_alone(self, database: Database, work: Any):
        database.write(saying("a"))
        answers = database.write_all([saying("b"), work, saying("c")])
        assert isinstance(answers[1], Retry)
        assert words(database) == {"a", "b", "c"}

    def test_a_fault_of_the_file_is_a_retry_for_all_of_the_group(self, database: Database):
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode = sqlite3.SQLITE_FULL
        answers = database.write_all([saying("a"), failing("b", full), saying("c")])
        assert all(isinstance(answer, Retry) and "make room there" in str(answer) for answer in answers)
        assert words(database) == set()
        assert database.write(saying("d")) == "d"

    def test_a_connection_that_is_lost_is_made_anew(self, database: Database):
        with pytest.raises(Retry):
            database.write(lambda writer: writer.close())
        assert database.write(saying("a")) == "a"
        assert words(database) == {"a"}

    def test_only_where_all_can_bear_it_no_fsync_is_asked_for(self, database: Database):
        def level(writer: sqlite3.Connection) -> int:
            return int(writer.execute("PRAGMA synchronous").fetchone()[0])

        full, normal = 2, 1
        assert database.write(level) == full
        assert database.write(level, durable=False) == normal
        blocked = Blocked(database)
        futures = [blocked.write(level, durable=durable) for durable in (False, True, False)]
        blocked.go_on()
        assert [future.result(PATIENCE) for future in futures] == [full] * 3


class TestClose:
    def test_what_is_queued_is_written_first(self, path: Path):
        database = Database(path, SCHEMA)
        blocked = Blocked(database)
        future = blocked.write(saying("a"))
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(database.close)
            assert soon(lambda: database._closed)
            blocked.go_on()
            closing.result(PATIENCE)
        assert future.result(PATIENCE) == "a"
        again = Database(path, SCHEMA)
        assert words(again) == {"a"}
        again.close()

    def test_afterwards_all_say_try_again(self, path: Path):
        database = Database(path, SCHEMA)
        words(database)
        database.close()
        database.close()
        for call in (lambda: database.write(saying("a")), lambda: words(database), database.version):
            with pytest.raises(Retry, match="closed"):
                call()
        (answer,) = database.write_all([saying("a")])
        assert isinstance(answer, Retry)

    def test_who_reads_meanwhile_reads_to_the_end(self, path: Path):
        database = Database(path, SCHEMA)
        database.write(saying("a"))
        begun, go_on = threading.Event(), threading.Event()

        def slowly(reader: sqlite3.Connection) -> list[Any]:
            begun.set()
            assert go_on.wait(PATIENCE)
            return reader.execute("SELECT word FROM words").fetchall()

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(database.read, slowly)
            assert begun.wait(PATIENCE)
            database.close()
            go_on.set()
            assert reading.result(PATIENCE) == [("a",)]
        assert database._readers == []


class TestReaders:
    def test_threads_that_come_and_go_leave_no_connections(self, database: Database):
        for _ in range(50):
            thread = threading.Thread(target=words, args=(database,))
            thread.start()
            thread.join()
        assert len(database._readers) == 1

    def test_they_cannot_write(self, database: Database):
        with pytest.raises(Retry, match="readonly"):
            database.read(lambda reader: reader.execute("INSERT INTO words VALUES ('a')"))

    def test_the_version_changes_with_every_commit_whoever_made_it_and_whoever_asks(
        self, database: Database, path: Path
    ):
        other = Database(path, SCHEMA)
        with ThreadPoolExecutor(4) as pool:
            seen = {future.result() for future in [pool.submit(database.version) for _ in range(20)]}
            assert len(seen) == 1
            for writer, word in ((database, "a"), (other, "b")):
                writer.write(saying(word))
                version = pool.submit(database.version).result()
                assert version not in seen
                seen.add(version)
        other.close()


class TestProcesses:
    def test_while_another_holds_the_file_it_says_by_whom_it_was_locked(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(connection, "BUSY_SECONDS", 0.1)
        database = Database(path, SCHEMA)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retry, match="locked by another process"):
            database.write(saying("a"))
        other.execute("COMMIT")
        assert database.write(saying("a")) == "a"
        other.close()
        database.close()

    def test_many_that_make_the_same_home_at_once_all_get_in(self, tmp_path: Path):
        script = (
            "import sys\nfrom pathlib import Path\nfrom shared.local.store import open_database\n"
            "sys.stdin.readline(); open_database(Path(sys.argv[1])).close()"
        )
        for home in range(2):
            command = [sys.executable, "-c", script, str(tmp_path / str(home) / "kuznia.db")]
            children = [
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(6)
            ]
            for child in children:
                assert child.stdin
                child.stdin.write("go\n")
                child.stdin.flush()
            assert [child.communicate(timeout=3 * PATIENCE)[1] for child in children] == [""] * 6


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path):
    path = tmp_path / "kuznia.db"
    path.write_bytes(b"not a database, but long enough to look like one " * 100)
    with pytest.raises(Retry, match="not a database"):
        Database(path, SCHEMA)
