"""The adapters that the contracts of bus and store are held against, by name."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from events.envelope import Event
from shared.local import open_ports
from shared.ports.bus import Bus
from shared.ports.store import Store
from shared.settings import Settings
from tests.memory import START

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds; a bound for what should come at once, never a measure


class Opened(Protocol):
    """What an adapter opens."""

    @property
    def bus(self) -> Bus: ...
    @property
    def store(self) -> Store: ...
    def close(self) -> None: ...


def open_google(settings: Settings) -> Opened:
    """On the emulators that the environment names, in a project of this home's own."""
    assembly = importlib.import_module("shared.google.assembly")
    options = importlib.import_module("shared.google.settings")
    project = "kz-" + hashlib.sha256(str(settings.home).encode()).hexdigest()[:20]
    opened: Opened = assembly.open_project(settings, options.GoogleSettings(project=project, create=True))
    return opened


ADAPTERS: Mapping[str, Callable[[Settings], Opened]] = {"sqlite": open_ports, "google": open_google}
PARAMETERS = ["sqlite", pytest.param("google", marks=pytest.mark.slow)]
NEEDS = {"google": "emulators"}  # fixtures of tests/emulators.py


class Place:
    """One adapter on one home. `open` may be called often: each is like another process's."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home
        self._opened: list[Opened] = []

    def open(self, lease_seconds: float = 60) -> Opened:
        settings = Settings(home=self.home, cache=self.home / "cache", lease_seconds=lease_seconds)
        opened = ADAPTERS[self.name](settings)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        for opened in self._opened:
            opened.close()

    @contextmanager
    def child(self, script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Another process, in which `ports` is this place's; its output can be read by line."""
        head = (
            "import sys; from pathlib import Path\n"
            "from tests.contracts.adapters import ADAPTERS, event\n"
            "from shared.settings import Settings\n"
            "home = Path(sys.argv[2])\n"
            "ports = ADAPTERS[sys.argv[1]](Settings(home=home, cache=home / 'cache', lease_seconds=1))\n"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", head + script, self.name, str(self.home), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def event(
    number: int | str, *, subject: str = "runs/r-1", name: str = "training-progressed", **more: object
) -> Event:
    """An event whose id follows from the number."""
    facts = {"id": f"e-{number}", "source": "/test", "time": START, "data": {"number": number}, **more}
    return Event(name=name, subject=subject, **facts)  # type: ignore[arg-type]


def soon(question: Callable[[], object]) -> bool:
    """Whether it comes true before our patience ends."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if question():
            return True
        time.sleep(0.01)
    return False


@contextmanager
def small_disk(
    folder: Path, capability: Callable[[str, bool, str], None], megabytes: int = 2
) -> Iterator[Path]:
    """A file system of so many megabytes."""
    capability("root-tmpfs", os.geteuid() == 0, "root, to mount a small tmpfs")
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "kuznia-test", str(folder)]
    mounted = subprocess.run(words, capture_output=True, check=False)
    capability("root-tmpfs", mounted.returncode == 0, "a machine that lets root mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
