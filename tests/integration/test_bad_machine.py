"""What a machine can lack: ports, disk, the trainer, a folder of one's own. Each is said, with how to mend it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import ends
from tests.integration.deliveries import ZERO, body, post
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.repository import Repository
from tests.standin import environment

pytestmark = pytest.mark.slow
Capability = Callable[[str, bool, str], None]


@pytest.mark.parametrize("variable", ["KUZNIA_PORT", "KUZNIA_GATEWAY_PORT"])
def test_a_port_that_is_taken(installation: Installation, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = installation.start(**{variable: str(port)})
        assert process.wait(30) == 1
    text = installation.log.read_text()
    assert f"port {port}" in text
    assert f"set {variable} to another port" in text
    assert "Traceback" not in text


def test_two_platforms_on_one_folder(
    installation: Installation, tmp_path: Path, standin_cache: Path, repository: Repository
) -> None:
    installation.up()
    second = Installation(installation.home, standin_cache)
    try:
        assert second.start().wait(30) == 1
    finally:
        second.release()
    text = installation.log.read_text()
    assert f"a platform already runs on {installation.home} (process {installation.pid}" in text
    assert "set KUZNIA_HOME to another folder" in text
    assert "Traceback" not in text
    ends.check(installation, Sent(run=repository.send()))


def test_no_trainer(tmp_path: Path, git: str) -> None:
    """The platform starts all the same, and the run says how to make the trainer."""
    installation = Installation(tmp_path / "home", tmp_path / "empty" / "kuznia")
    try:
        repository = Repository(installation, tmp_path / "repository", environment.MODEL)
        installation.up()
        assert "make trainer" in installation.log.read_text()
        record = installation.wait_status(f"runs/{repository.send()}", "FAILED")
        assert "make it with `make trainer`" in record.data["cause"]
        ends.settle(installation)
        assert ends.dead(installation) == []
    finally:
        installation.close()


@pytest.fixture
def small_disk(tmp_path: Path, capability: Capability) -> Iterator[Callable[[Path, int], None]]:
    """`small_disk(folder, megabytes)` mounts one."""
    mounted: list[Path] = []

    def mount(folder: Path, megabytes: int) -> None:
        folder.mkdir(parents=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)],
            capture_output=True,
            check=False,
        )
        capability("root-tmpfs", done.returncode == 0, "root, to mount a small tmpfs")
        mounted.append(folder)

    capability("root-tmpfs", os.geteuid() == 0, "root, to mount a small tmpfs")
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def test_a_full_disk_refuses_a_push_and_takes_it_later(
    installation: Installation, tmp_path: Path, git: str, small_disk: Callable[[Path, int], None]
) -> None:
    """503 with what to do, and nothing half kept; the forge's next try is taken."""
    small_disk(installation.home, 48)
    repository = Repository(installation, tmp_path / "repository", environment.MODEL)
    installation.up()
    repository.write()
    commit = repository.commit()
    (repository.bare / "hooks" / "post-receive").unlink()
    repository.push()
    ballast = fill(installation.home)
    statuses = {post(installation, body(commit, padding=f"{n}"), f"d-{n}")[0] for n in range(20)}
    status, told = post(installation, body(commit), "d-full")
    assert (status, "is full: make room there" in told["error"]) == (503, True), (statuses, told)
    ballast.unlink()
    assert post(installation, body(commit, before=ZERO), "d-again")[0] == 202
    ends.check(installation, Sent(run=repository.run()))


def test_a_full_artifact_store_holds_a_run_up_and_no_more(
    installation: Installation, repository: Repository, small_disk: Callable[[Path, int], None]
) -> None:
    """The upload waits, and says for what; once there is room, the run goes on to its end."""
    small_disk(installation.settings.artifacts, 16)
    installation.options["STANDIN_WEIGHTS_MB"] = "2"
    installation.up()
    ballast = fill(installation.settings.artifacts)
    run = repository.send(config={"save_steps": 100})

    def told() -> bool:
        log = installation.settings.cluster / f"train-{run}" / "log"
        return log.exists() and "disk is full" in log.read_text()

    installation.wait("the pod says so", told)
    ballast.unlink()
    ends.check(installation, Sent(run=run))
