"""The audit log: flushed, rotated, private; a disk that is full tears no line."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.gateway.audit import Audit, Entry
from tests.services.gateway.world import until


def _entry(number: int) -> Entry:
    return Entry(
        time=datetime(2026, 1, 1, tzinfo=UTC), request_id=str(number), route="/", status=200, duration_ms=1.0
    )


def test_the_audit_is_flushed_while_it_runs_and_survives_a_rotation(tmp_path: Path):
    path = tmp_path / "logs" / "gateway.jsonl"
    audit = Audit(path)
    audit.start()
    audit.put(_entry(1))
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    path.rename(tmp_path / "old")
    for number in range(2, 1002):
        audit.put(_entry(number))
    audit.stop()
    audit.stop()
    assert [json.loads(line)["request_id"] for line in path.read_text().splitlines()] == [
        str(number) for number in range(2, 1002)
    ]
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_audit_that_cannot_be_written_waits_and_complains_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "gateway.jsonl"
    path.mkdir()
    audit = Audit(path)
    audit.start()
    audit.put(_entry(1))
    until(lambda: "cannot be written" in caplog.text)
    audit.put(_entry(2))
    path.rmdir()
    until(path.is_file)
    audit.stop()
    assert len(path.read_text().splitlines()) == 2
    assert caplog.text.count("cannot be written") == 1


def test_a_full_disk_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.audit.MAX_PENDING", 1000)
    path = tmp_path / "gateway.jsonl"
    path.mkdir()
    audit = Audit(path)
    audit.start()
    for number in range(100):
        audit.put(_entry(number))
    audit.stop()
    assert 0 < audit.lost < 100


def test_a_disk_that_answers_nothing_cannot_fill_it_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.gateway.audit.MAX_QUEUED", 5)
    audit = Audit(tmp_path / "gateway.jsonl")  # its thread takes nothing: it has not been started
    for number in range(8):
        audit.put(_entry(number))
    assert audit.lost == 3


def test_half_a_line_is_finished_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fills up in the middle of a write leaves no torn line behind."""
    real, path, faults = os.write, tmp_path / "gateway.jsonl", iter([None])

    def write(handle: int, data: bytes) -> int:
        if next(faults, 1) is None:
            return real(handle, bytes(data[:10]))
        monkeypatch.setattr(os, "write", real)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    audit = Audit(path)
    audit.start()
    audit.put(_entry(1))
    until(lambda: os.write is real)
    audit.stop()
    assert json.loads(path.read_text())["request_id"] == "1"
