"""A full disk: nothing is lost, and everything goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Retry
from shared.local.cluster import logs, supervisor
from shared.local.cluster.layout import Layout


@pytest.fixture
def small_disk(rig: Any, capability: Callable[[str, bool, str], None]) -> Iterator[Path]:
    """The cluster's folder is a file system of 1 MB. Unmounted once the cluster is closed."""
    rig.root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "kuznia-test", str(rig.root)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    capability("tmpfs", mounted, "root that may mount a small tmpfs")
    yield rig.root
    (rig.root / ".filling").unlink(missing_ok=True)
    for status in rig.cluster.list():
        rig.cluster.stop(status.name)
    rig.cluster.close(stop_workloads=True)
    subprocess.run(["umount", rig.root], check=True)


def fill(folder: Path) -> Path:
    filling = folder / ".filling"
    with pytest.raises(OSError, match="No space left"):
        write_until_full(filling)
    return filling


def write_until_full(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_TROUBLE_SECONDS", 0.05)


def test_nothing_is_applied_on_a_full_disk(rig: Any, small_disk: Path) -> None:
    rig.cluster.start()
    filling = fill(small_disk)
    with pytest.raises(Retry, match=f"disk is full.*{small_disk}.*make room"):
        rig.cluster.apply(rig.job())
    assert rig.cluster.list() == []
    filling.unlink()
    rig.cluster.apply(rig.job())
    rig.reached("job", "succeeded")


def test_an_end_is_recorded_once_there_is_room(
    rig: Any, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rig.run(rig.job(["wait_for", str(rig.folder / "go")]))
    pid = rig.reached("job", "running").pid
    filling = fill(small_disk)
    (rig.folder / "go").touch()
    assert rig.gone(pid)
    rig.until(lambda: "job: the disk is full" in caplog.text)
    assert rig.cluster.status("job").phase == "running"
    filling.unlink()
    assert rig.reached("job", "succeeded").exit_code == 0


def test_a_full_disk_keeps_nobody_from_being_ended(rig: Any, small_disk: Path) -> None:
    rig.run(
        rig.job(
            ["wait_for", str(rig.folder / "go")], ["allocate", 300], ["sleep", 600], memory_bytes=100 * 2**20
        )
    )
    pid = rig.reached("job", "running").pid
    filling = fill(small_disk)
    (rig.folder / "go").touch()
    assert rig.gone(pid)
    filling.unlink()
    assert rig.reached("job", "failed").reason == "OutOfMemory"


def test_a_log_that_fills_the_disk_makes_room(rig: Any, small_disk: Path) -> None:
    layout = Layout(small_disk)
    with pytest.raises(OSError, match="No space left"):
        write_until_full(layout.log)
    assert logs.rotate(layout, limit=1000)
    assert layout.log.stat().st_size == 0
    layout.log.write_text("goes on")
    assert not layout.older_log.exists()
