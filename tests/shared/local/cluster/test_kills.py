"""The platform dies at any moment: nothing that was applied is lost, and nothing is started twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.envelope import Event
from shared.errors import Reject
from shared.local.cluster import processes
from shared.local.cluster.layout import Layout
from shared.local.cluster.state import load
from shared.ports.cluster import Workload

PODS = Path(__file__).parent / "pods"
Platform = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def platform(rig: Any) -> Iterator[Platform]:
    """Starts a platform in its own process; it is dead when this returns, if it is to kill itself."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*workloads: Workload, kill_at: str = "") -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            str(PODS / "platform_host.py"),
            str(rig.root),
            str(rig.folder / "said"),
            kill_at,
        ]
        environment = {**os.environ, "PYTHONPATH": str(PODS)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
        started.append(process)
        assert process.stdin
        with process.stdin:
            process.stdin.write(msgspec.json.encode(workloads))
        if kill_at:
            assert process.wait(30) == -signal.SIGKILL
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def said_before(rig: Any) -> list[Event]:
    path = rig.folder / "said"
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line, type=Event) for line in lines]


def noted_before(rig: Any) -> bool:
    """It said something, and has noted that it did; killed before, the next platform says it again."""
    return bool(said_before(rig)) and not load(Layout(rig.root / "job")).unsaid


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("moment", ["launch", "recorded", "said", "noted"])
def test_killed_at_a_moment_of_the_start(rig: Any, platform: Platform, moment: str) -> None:
    """One start, and each event at least once, always under the same id."""
    pods = rig.folder / "pods"
    workload = rig.job(["note", str(pods)], ["wait_for", str(rig.folder / "go")])
    platform(workload, kill_at=moment)
    rig.again()
    rig.cluster.apply(workload)
    pid = int(rig.read("pods").split()[1])
    rig.reached("job", "running") if moment != "noted" else rig.until(lambda: rig.said or said_before(rig))
    assert processes.find(pid)
    (rig.folder / "go").touch()
    rig.reached("job", "succeeded")
    assert pods.read_text() == f"1 {pid}\n"
    told = [*said_before(rig), *rig.said]
    by_id = {event.id: event.data["phase"] for event in told}
    assert sorted(by_id.values()) == ["running", "succeeded"]


def test_a_running_job_is_adopted(rig: Any, platform: Platform) -> None:
    workload = rig.job(["wait_for", str(rig.folder / "go")], ["leave", 3])
    first = platform(workload)
    rig.until(lambda: noted_before(rig))
    pid = rig.cluster.status("job").pid
    kill(first)
    assert processes.find(pid)
    rig.again()
    rig.cluster.apply(workload)
    assert rig.cluster.status("job").pid == pid
    (rig.folder / "go").touch()
    status = rig.reached("job", "failed")
    assert (status.exit_code, status.attempt) == (3, 1)
    assert rig.story("job") == [("failed", 1, "Error")]


def test_a_job_that_ended_while_nobody_watched(rig: Any, platform: Platform) -> None:
    first = platform(rig.job(["wait_for", str(rig.folder / "go")], ["say", "done"]))
    rig.until(lambda: noted_before(rig))
    pid = rig.cluster.status("job").pid
    kill(first)
    (rig.folder / "go").touch()
    assert rig.gone(pid)
    rig.again()
    status = rig.reached("job", "succeeded")
    assert (status.exit_code, status.attempt) == (0, 1)


def test_a_job_that_was_killed_while_nobody_watched(rig: Any, platform: Platform) -> None:
    """Everything of it died, as when the machine loses its power."""
    first = platform(rig.job(["note", str(rig.folder / "pods")], ["on_attempt", 1, "sleep", 600]))
    pod = int(rig.read("pods").split()[1])
    rig.until(lambda: noted_before(rig))
    pid = rig.cluster.status("job").pid
    kill(first)
    os.killpg(pid, signal.SIGKILL)
    assert rig.gone(pid)
    assert rig.gone(pod)
    rig.again()
    rig.reached("job", "succeeded", attempt=2)
    assert rig.story("job")[0] == ("running", 2, "Vanished")


def test_a_server_goes_on_answering_and_is_adopted(rig: Any, platform: Platform) -> None:
    first = platform(rig.server(["serve", "/ready"]))
    rig.until(lambda: len(said_before(rig)) == 2)
    before = rig.cluster.status("server")
    kill(first)
    rig.again()
    os.kill(before.pid, 0)
    after = rig.cluster.status("server")
    assert (after.phase, after.pid, after.address) == ("ready", before.pid, before.address)
    os.killpg(after.pid, signal.SIGKILL)
    rig.reached("server", "ready", attempt=2)


def test_a_server_that_was_starting_is_adopted_and_gets_ready(rig: Any, platform: Platform) -> None:
    first = platform(rig.server(["wait_for", str(rig.folder / "go")], ["serve", "/ready"]))
    rig.until(lambda: said_before(rig))
    address = rig.cluster.status("server").address
    kill(first)
    rig.again()
    (rig.folder / "go").touch()
    assert rig.reached("server", "ready").address == address


def test_a_stop_is_finished_by_the_next_platform(rig: Any, platform: Platform) -> None:
    workload = rig.job(["ignore_term"], ["note", str(rig.folder / "pods")], ["sleep", 600], grace_seconds=0.2)
    first = platform(workload)
    pod = int(rig.read("pods").split()[1])
    kill(first)
    rig.cluster.stop("job")  # only written down: nobody supervises
    assert processes.find(pod)
    rig.again()
    assert rig.reached("job", "failed").reason == "Stopped"
    assert rig.gone(pod)
    rig.cluster.apply(workload)
    assert rig.story("job") == [("running", 1, "")] or rig.story("job") == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moments(rig: Any, platform: Platform, seed: int) -> None:
    """Nothing of the pods dies, so each is started exactly once, and told of under one id an event."""
    moments = random.Random(seed)
    jobs = [
        rig.job(["note", str(rig.folder / f"job-{number}")], ["sleep", number / 4], name=f"job-{number}")
        for number in range(6)
    ]
    server = rig.server(["note", str(rig.folder / "server")], ["sleep", 1], ["serve", "/ready"])
    for _ in range(12):
        first = platform(*jobs, server)
        with suppress(subprocess.TimeoutExpired):
            first.wait(moments.uniform(0.1, 0.6))  # from before it has imported anything to long after
        kill(first)
    rig.again()
    rig.cluster.apply(server)
    for workload in jobs:
        rig.cluster.apply(workload)
    rig.until(lambda: {status.phase for status in rig.cluster.list()} == {"succeeded", "ready"})
    told = {event.id: event.data for event in [*said_before(rig), *rig.said]}
    rig.until(lambda: told.update({event.id: event.data for event in rig.said}) or len(told) >= 14)
    for name in [*[workload.name for workload in jobs], "server"]:
        assert len((rig.folder / name).read_text().splitlines()) == 1
        phases = sorted(data["phase"] for data in told.values() if data["name"] == name)
        assert phases == (["ready", "running"] if name == "server" else ["running", "succeeded"])


def test_two_platforms_on_one_folder(rig: Any, platform: Platform) -> None:
    first = platform(rig.job(["sleep", 600]))
    rig.until(lambda: said_before(rig))
    with pytest.raises(Reject, match=f"process {first.pid} already supervises {rig.root}"):
        rig.cluster.start()
    kill(first)
    rig.cluster.start()
    rig.cluster.start()


def test_closing_ends_the_pods_and_starting_starts_them_again(rig: Any) -> None:
    term = rig.folder / "term"
    steps = ["on_term", 75, str(term)], ["note", str(rig.folder / "up")], ["on_attempt", 1, "sleep", 600]
    rig.cluster.apply(rig.job(*steps, restarts=0))
    rig.run(rig.server(["serve", "/ready"], restarts=0))
    rig.read("up")
    rig.reached("server", "ready")
    pids = [rig.cluster.status(name).pid for name in ("job", "server")]
    rig.cluster.close(stop_workloads=True)
    assert term.exists()
    assert [processes.find(pid) for pid in pids] == [None, None]
    assert [status.phase for status in rig.cluster.list()] == ["pending", "pending"]
    rig.again()
    rig.reached("job", "succeeded", attempt=2)
    rig.reached("server", "ready", attempt=2)
    assert ("running", 2, "Suspended") in rig.story("job")


def test_closing_lets_them_run_where_it_shall(rig: Any) -> None:
    rig.run(rig.job(["wait_for", str(rig.folder / "go")]))
    pid = rig.reached("job", "running").pid
    rig.cluster.close(stop_workloads=False)
    rig.cluster.close(stop_workloads=False)
    rig.again()
    assert rig.cluster.status("job").pid == pid
    (rig.folder / "go").touch()
    rig.reached("job", "succeeded")
