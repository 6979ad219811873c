# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia export`, `import` and `compact`, from one home to another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.cli.main import cli
from services.lock import Endpoints, HomeLock
from shared.local import open_ports
from shared.operations.archive import write
from shared.ports.operations import Snapshot
from shared.settings import Settings
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import BEGUN, Home, set_home
from tests.shared.operations.test_transfer import state, states


def states_of(path: Path) -> dict[str, tuple[object, ...]]:
    ports = open_ports(Settings(home=path, cache=path))
    found = {record.key: state(record) for record in ports.operations.snapshot().records}
    ports.close()
    return found


def test_from_home_to_home(forge: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = read("export", "events", str(tmp_path / "log.jsonl"))
    assert header["counts"]["event"] == len(forge.operations.snapshot().events)
    set_home(tmp_path / "other", monkeypatch)
    made = read("import", "events", str(tmp_path / "log.jsonl"), "--reason", "a drill")
    assert made["changed"]
    assert made["decisions"] == header["counts"]["decision"]
    assert states_of(tmp_path / "other") == states(forge)
    assert read("dead", "notes")[0]["reason"] == "a drill"
    assert "nothing changed" in told("import", "events", str(tmp_path / "log.jsonl"))
    assert not (tmp_path / "other" / "cluster").exists()


def test_through_a_pipe(forge: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = CliRunner().invoke(cli, ["export", "events", "-"], catch_exceptions=False)
    assert json.loads(out.stdout_bytes.splitlines()[0])["kuznia"] == "export"
    assert "exported" in out.stderr
    set_home(tmp_path / "other", monkeypatch)
    result = kuznia("import", "events", "-", input=out.stdout_bytes)
    assert result.exit_code == 0
    assert "decisions made again" in result.stdout
    assert states_of(tmp_path / "other") == states(forge)


def test_the_homes_trace_alike(forge: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also who heard what, and when."""
    here = read("trace", "team-x.llm-qa.v1@1.1.0")
    told("export", "events", str(tmp_path / "log.jsonl"))
    set_home(tmp_path / "other", monkeypatch)
    told("import", "events", str(tmp_path / "log.jsonl"))
    assert read("trace", "team-x.llm-qa.v1@1.1.0") == here


def test_what_is_owed_is_said(forge: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    event = forge.operations.snapshot().events[0]
    forge.operations.redeliver(event.id, "webhook")
    told("export", "events", str(tmp_path / "log.jsonl"))
    set_home(tmp_path / "warm", monkeypatch)
    assert "1 deliveries and 0 effects are owed" in told("import", "events", str(tmp_path / "log.jsonl"))
    set_home(tmp_path / "cold", monkeypatch)
    assert "are owed" not in told("import", "events", str(tmp_path / "log.jsonl"), "--cold")


def test_a_log_of_another_system(tmp_path: Path, forge: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events without decisions: they are only told of."""
    events = forge.operations.snapshot().events
    bare = Snapshot(events=events, decisions=[], records=[], waiting=[], dead=[], notes=[])
    with (tmp_path / "log.jsonl").open("wb") as file:
        write(bare, file, forge.clock.now())
    set_home(tmp_path / "other", monkeypatch)
    assert "kuznia replay --all --dry-run" in told("import", "events", str(tmp_path / "log.jsonl"))
    assert states_of(tmp_path / "other") == {}


class TestRefusals:
    def test_a_home_that_is_in_use(self, forge: Home, tmp_path: Path) -> None:
        told("export", "events", str(tmp_path / "log.jsonl"))
        lock = HomeLock(forge.path)
        lock.announce(Endpoints(pid=1, console="http://127.0.0.1:1", gateway="http://127.0.0.1:2"))
        assert "a platform runs on" in refused("import", "events", str(tmp_path / "log.jsonl"))
        lock.close()

    def test_a_file_that_is_none(self, forge: Home, tmp_path: Path) -> None:
        (tmp_path / "log.jsonl").write_text("no\n")
        assert "line 1 is no header" in refused("import", "events", str(tmp_path / "log.jsonl"))
        assert "cannot be read" in refused("import", "events", str(tmp_path / "none.jsonl"))

    def test_a_place_that_cannot_be_written(self, forge: Home, tmp_path: Path) -> None:
        assert "cannot be written" in refused("export", "events", str(tmp_path / "no" / "log.jsonl"))

    def test_no_half_export_is_left(self, forge: Home, tmp_path: Path) -> None:
        target = tmp_path / "taken"
        target.mkdir()
        assert kuznia("export", "events", str(target)).exit_code == 2
        told("export", "events", str(tmp_path / "log.jsonl"))
        assert (tmp_path / "log.jsonl").stat().st_mode & 0o777 == 0o600
        assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "log.jsonl", "taken"]


class TestCompact:
    @pytest.fixture
    def forge(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
        """A home in which all was said a month ago."""
        old = Home(tmp_path / "home", begun=BEGUN - timedelta(days=30))
        old.train(tmp_path)
        set_home(old.path, monkeypatch)
        yield old
        old.close()

    def test_only_told_unless_asked(self, forge: Home) -> None:
        before = states(forge)
        text = told("compact", "--older-than", "7")
        assert "would go (--apply does it)" in text
        assert states(forge) == before
        assert forge.operations.notes() == []

    def test_done_it_is_noted_and_replays_end_there(self, forge: Home) -> None:
        plan = read("compact", "--older-than", "7", "--apply", "--reason", "it was large")
        assert plan["inbox_entries"] > 20
        assert all(not record.inbox for record in forge.operations.snapshot().records)
        assert forge.operations.notes()[0].reason == "it was large"
        assert "could be done twice" in refused("replay", "--all", "--dry-run")
        assert told("doctor", "--deep").startswith("all is well")

    def test_nothing_old_is_nothing_done(self, forge: Home) -> None:
        told("compact", "--older-than", "60", "--apply")
        assert forge.operations.notes() == []
        assert read("compact", "--older-than", "60")["inbox_entries"] == 0

    def test_a_week_at_least(self, forge: Home) -> None:
        assert kuznia("compact", "--older-than", "6").exit_code == 2
