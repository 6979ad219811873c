"""Logs: lines of JSON in the file, short lines for people."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import telemetry
from shared.telemetry import configure


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    ours = logging.getLogger("kuznia")
    level, handlers, propagate = ours.level, list(ours.handlers), ours.propagate
    yield
    for handler in set(ours.handlers) - set(handlers):
        handler.close()
    ours.handlers, ours.propagate = handlers, propagate
    ours.setLevel(level)


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_file_has_all_and_the_terminal_what_matters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "logs" / "kuznia.jsonl"
    configure(path)
    log = logging.getLogger("kuznia.host")
    log.debug("not at all")
    log.info("żółw %s", "przyszedł")
    log.warning("a\nb")
    assert [(line["level"], line["logger"], line["message"]) for line in lines(path)] == [
        ("INFO", "kuznia.host", "żółw przyszedł"),
        ("WARNING", "kuznia.host", "a\nb"),
    ]
    assert lines(path)[0]["time"].endswith("+00:00")
    assert capsys.readouterr().err == "WARNING kuznia.host: a\nb\n"


def test_the_terminal_can_be_told_more(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    configure(tmp_path / "kuznia.jsonl", logging.INFO)
    logging.getLogger("kuznia.host").info("said")
    assert capsys.readouterr().err == "INFO kuznia.host: said\n"


def test_an_exception_brings_its_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    configure(tmp_path / "kuznia.jsonl")
    try:
        int("loss")
    except ValueError:
        logging.getLogger("kuznia.host").exception("it broke")
    (line,) = lines(tmp_path / "kuznia.jsonl")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].splitlines()[-1].startswith("ValueError: ")


def test_the_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(telemetry, "MAX_BYTES", 1000)
    configure(tmp_path / "kuznia.jsonl", logging.CRITICAL)
    for number in range(500):
        logging.getLogger("kuznia.host").info("line %s", number)
    files = sorted(tmp_path.iterdir())
    assert len(files) == telemetry.KEPT_FILES + 1
    assert all(path.stat().st_size <= 1000 for path in files)
    assert lines(tmp_path / "kuznia.jsonl")[-1]["message"] == "line 499"


def test_configured_twice_each_line_is_there_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    configure(tmp_path / "kuznia.jsonl")
    configure(tmp_path / "kuznia.jsonl")
    logging.getLogger("kuznia.host").warning("once")
    assert len(lines(tmp_path / "kuznia.jsonl")) == 1
    assert capsys.readouterr().err.count("once") == 1


def test_other_libraries_stay_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    configure(tmp_path / "kuznia.jsonl")
    logging.getLogger("someone.else").warning("not ours")
    assert lines(tmp_path / "kuznia.jsonl") == []
