"""Cores among processes of one machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from shared.podkit import cores as module
from shared.podkit.cores import allotted, cores
from shared.podkit.stopping import Preempted
from shared.settings import Settings


def nothing() -> None:
    pass


@pytest.fixture
def take(tmp_path: Path) -> Callable[..., AbstractContextManager[int]]:
    def run(
        most: int, patience: float = 0, check: Callable[[], None] = nothing
    ) -> AbstractContextManager[int]:
        return cores(tmp_path / "cores", 4, most=most, patience=patience, check=check)

    return run


def test_each_takes_what_is_free(take: Callable[..., AbstractContextManager[int]]) -> None:
    with take(3) as first:
        with take(4) as second:
            assert (first, second) == (3, 1)
            with take(2) as third:
                assert third == 1, "patience at its end: it shares"
        with take(4) as again:
            assert again == 1
    with take(4) as alone:
        assert alone == 4


def test_waiting_can_be_broken_off(take: Callable[..., AbstractContextManager[int]]) -> None:
    def stop() -> None:
        raise Preempted

    with take(4), pytest.raises(Preempted), take(1, 60, stop):
        pytest.fail("there was none to take")


def test_a_killed_process_gives_its_cores_back(
    take: Callable[..., AbstractContextManager[int]], tmp_path: Path
) -> None:
    code = """
import sys, time
from pathlib import Path
from shared.podkit.cores import cores
with cores(Path(sys.argv[1]), 4, most=4, patience=0, check=lambda: None) as found:
    print(found, flush=True)
    time.sleep(60)
"""
    words = [sys.executable, "-c", code, str(tmp_path / "cores")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"4\n"
        checks: list[int] = []

        def kill() -> None:
            checks.append(1)
            other.kill()

        with take(4, 30, kill) as found:
            assert found == 4
        assert checks


def test_told_threads_are_not_discussed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(home=tmp_path / "home", cache=tmp_path / "cache")
    with allotted(settings, 3, share=1.0, check=nothing) as told:
        assert told == 3
    monkeypatch.setattr(module, "available_cpus", lambda: 6)
    with (
        allotted(settings, 0, share=0.5, check=nothing) as half,
        allotted(settings, 0, share=1.0, check=nothing) as rest,
    ):
        assert (half, rest) == (3, 3)
    monkeypatch.setattr(module, "visible_gpus", lambda: 1)
    with allotted(settings, 0, share=1.0, check=nothing) as free:
        assert free == 0
