"""Processes are known by more than their number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.local.cluster import memory, processes
from shared.local.cluster.processes import Process, family, find, listed, parse, send, table


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "600"])
    yield process
    process.kill()
    process.wait()


def known(pid: int) -> Process:
    found = find(pid)
    assert found
    return found


def test_we_are_in_the_table() -> None:
    ours = table()[os.getpid()]
    assert (ours.pid, ours.parent, ours.session) == (os.getpid(), os.getppid(), os.getsid(0))
    assert ours.resident > 2**20
    assert 0 < ours.age < time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_name_with_brackets_and_spaces() -> None:
    fields = " ".join(["S", "7", "8", "9", *["0"] * 15, "1234", "0", "2", *["0"] * 20])
    found = parse(f"42 (a) (b c) {fields}\n".encode())
    assert found == Process(pid=42, parent=7, session=9, start=1234, resident=2 * os.sysconf("SC_PAGE_SIZE"))


def test_a_dead_process_that_was_not_reaped_is_no_process() -> None:
    process = subprocess.Popen(["/bin/true"])
    deadline = time.monotonic() + 30
    while find(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.wait() == 0
    assert find(process.pid) is None


def test_only_the_very_process_is_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    """One that merely has the number, now, is left alone."""
    real = known(sleeper.pid)
    send([replace(real, start=real.start - 1)], signal.SIGKILL)
    assert find(sleeper.pid)
    send([real], signal.SIGKILL)
    assert sleeper.wait(30) == -signal.SIGKILL
    send([real], signal.SIGKILL)


def test_a_family_is_all_that_descends() -> None:
    def process(pid: int, parent: int) -> Process:
        return Process(pid=pid, parent=parent, session=1, start=1, resident=1)

    everybody = {
        each.pid: each for each in (process(1, 0), process(2, 1), process(3, 2), process(4, 1), process(5, 4))
    }
    assert sorted(each.pid for each in family(everybody, lambda each: each.pid == 2)) == [2, 3]
    assert sorted(each.pid for each in family(everybody, lambda each: each.pid in {2, 4})) == [2, 3, 4, 5]
    assert family(everybody, lambda each: False) == []


def test_a_listed_number_that_was_given_to_another_is_not_ours(
    sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    children = tmp_path / "children"
    assert listed(children, table()) == set()
    children.write_text(f"{sleeper.pid}\nnonsense\n999999999\n")
    assert listed(children, table()) == {sleeper.pid}
    os.utime(children, (time.time() - 3600,) * 2)
    assert listed(children, table()) == set()


def test_memory_is_measured_and_a_dead_process_uses_none(sleeper: subprocess.Popen[bytes]) -> None:
    ours = known(os.getpid())
    used = memory.over([ours], 2**20)
    assert used > 2**20
    assert memory.over([ours], 2**40) == 0
    assert memory.over([replace(ours, pid=999_999_999)], 1) == 0


def test_the_environment_it_was_started_with() -> None:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env={"MARK": "a b"})
    try:
        deadline = time.monotonic() + 30
        while not processes.carries(
            known(process.pid), b"MARK=a b"
        ):  # between fork and exec it is still ours
            assert time.monotonic() < deadline
        assert not processes.carries(known(process.pid), b"MARK=a")
        assert not processes.carries(replace(known(process.pid), pid=999_999_999), b"MARK=a b")
    finally:
        process.communicate()
