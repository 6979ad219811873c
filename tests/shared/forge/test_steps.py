"""Long steps: a line each, and a failure that says how to mend it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from shared.forge import steps


def python(source: str) -> list[str]:
    return [sys.executable, "-c", source]


def test_a_step_is_one_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    with steps.step("forging"):
        pass
    line, rest = capsys.readouterr().out.split("\n", 1)
    assert line.startswith("  forging … ✓")
    assert line.endswith(" s")
    assert rest == ""


def test_a_step_that_raises_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), steps.step("forging"):
        raise RuntimeError
    assert "✗" in capsys.readouterr().out


def test_a_terminal_sees_what_it_is_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = threading.Event()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(steps, "REFRESH_SECONDS", 0.001)
    say = steps.say

    def watch(text: str) -> None:
        say(text)
        if "collecting anvil" in text:
            shown.set()

    monkeypatch.setattr(steps, "say", watch)
    with steps.step("forging") as running:
        running.tell("collecting anvil")
        assert shown.wait(10)
    assert capsys.readouterr().out.rstrip().split("\r")[-1].startswith("\x1b[K✓ forging")


def test_output_is_kept_and_pip_is_heard(tmp_path: Path) -> None:
    heard: list[str] = []
    log = tmp_path / "logs" / "pip.log"
    steps.run(python("print('Collecting anvil==1.0'); print('other')"), log=log, note=heard.append)
    assert heard == ["collecting anvil==1.0"]
    assert log.read_text() == "Collecting anvil==1.0\nother\n"


@pytest.mark.parametrize(
    ("said", "mend"),
    [
        ("OSError: [Errno 28] No space left on device", "free some space"),
        ("Max retries exceeded with url: NewConnectionError", "check the network"),
        ("ERROR: No matching distribution found for anvil", "Python is 3.11, 3.12 or 3.13"),
        ("THESE PACKAGES DO NOT MATCH THE HASHES", "not what is pinned"),
        ("PermissionError: Permission denied: '/x'", "who owns the folder"),
        ("something else", "the lines above say why"),
    ],
)
def test_a_failure_says_how_to_mend_it(tmp_path: Path, said: str, mend: str) -> None:
    with pytest.raises(steps.StepFailed, match=mend) as caught:
        steps.run(python(f"print({said!r}); raise SystemExit(3)"), log=tmp_path / "log")
    assert said in str(caught.value)
    assert "ended with 3" in str(caught.value)
    assert str(tmp_path / "log") in str(caught.value)


def test_an_error_of_the_system_is_told_with_its_mend() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "To mend: free some space" in steps.explain(full)
    assert steps.explain(steps.StepFailed("No space left on device")) == "No space left on device"


def test_a_full_disk_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * 10**9))
    steps.require_space(tmp_path / "not" / "yet", 1.5, "the forge")
    with pytest.raises(
        steps.StepFailed, match=r"the forge needs 3 GB .* 2\.0 GB are free(.|\n)*XDG_CACHE_HOME"
    ):
        steps.require_space(tmp_path / "not" / "yet", 3, "the forge")


def test_a_lock_lets_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, order = tmp_path / "sub" / "lock", list[str]()
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        with steps.lock(path):
            order.append("second")

    with steps.lock(path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(10)
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert "waiting for it" in capsys.readouterr().out
