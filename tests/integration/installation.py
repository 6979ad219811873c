"""The real platform as a process of its own, on a home of its own: started, killed, started again, looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from events.envelope import Event
from services.cli.tokens import own_token
from services.lock import Endpoints, running
from shared.local import LocalPorts, open_ports
from shared.ports.bus import Query
from shared.record import Record
from shared.settings import Settings
from tests.integration import processes

MOST_LOGS = 12  # in the story of a failure
TENANT = "team-x"
UP_SECONDS = 60.0
QUICK = {
    "KUZNIA_PORT": "0",
    "KUZNIA_GATEWAY_PORT": "0",
    "KUZNIA_WARM": "0",
    "KUZNIA_RECONCILE_SECONDS": "0.5",
    "OMP_NUM_THREADS": "1",
}
Value = TypeVar("Value")


class Installation:
    """home: its folder. cache: as `Settings.cache`. options: variables that every start gets."""

    def __init__(self, home: Path, cache: Path, **options: str) -> None:
        self.home = home
        self.settings = Settings(home=home, cache=cache)
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: LocalPorts | None = None

    @property
    def log(self) -> Path:
        """What all starts of the platform printed."""
        return self.home.parent / f"{self.home.name}-up.log"

    @property
    def ports(self) -> LocalPorts:
        """Its bus, store and artifacts, as another process opens them."""
        if self._ports is None:
            self._ports = open_ports(self.settings)
        return self._ports

    @property
    def pid(self) -> int:
        """Of the platform's process."""
        assert self._process
        return self._process.pid

    @property
    def endpoints(self) -> Endpoints:
        """Where it answers."""
        found = running(self.home)
        assert found, "the platform is not up"
        return found

    def environment(self, **more: str) -> dict[str, str]:
        """Variables of the platform and of the commands."""
        own = {"KUZNIA_HOME": str(self.home), "XDG_CACHE_HOME": str(self.settings.cache.parent)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KUZNIA_")}
        return {**kept, **QUICK, **self.options, **own, **more}

    def start(self, **more: str) -> subprocess.Popen[bytes]:
        """Begin to start the platform; it may die before it is up."""
        assert self._process is None or self._process.poll() is not None, "it runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.cli.main", "up"],
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._process

    def up(self, **more: str) -> Endpoints:
        """Start it, and wait until it answers."""
        process = self.start(**more)
        return self.wait("the platform is up", lambda: self._answers(process), UP_SECONDS)

    def down(self) -> None:
        """SIGTERM, as Ctrl-C: it ends with what it runs."""
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)

    def kill(self) -> None:
        """SIGKILL to the platform alone; its pods live on."""
        assert self._process
        self._process.kill()
        self._process.wait()

    def kill_all(self) -> None:
        """SIGKILL to the platform and to everything that it runs."""
        if self._process:
            self._process.kill()
            self._process.wait()
        processes.kill(self.home)

    def wait_killed(self, seconds: float = 150) -> None:
        """Until it has killed itself at the point that KUZNIA_KILL_AT names."""
        assert self._process
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it never came to the point where it should die\n{self.story()}")
        assert code == -signal.SIGKILL, self.story()

    def close(self) -> None:
        """End whatever is left of it."""
        self.release()
        self.kill_all()

    def release(self) -> None:
        """Close our own handles on its files."""
        if self._ports:
            self._ports.close()
            self._ports = None

    def kuznia(self, *words: str, code: int = 0) -> str:
        """Run a command of ours, as a person would; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "services.cli.main", *words],
            env=self.environment(KUZNIA_USER="tester", COLUMNS="200"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"kuznia {' '.join(words)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def json(self, *words: str) -> Any:
        """What a command prints with --json."""
        return json.loads(self.kuznia(*words, "--json"))

    def token(self) -> str:
        """A client's token."""
        return own_token(self.ports, self.home, TENANT)

    def record(self, key: str) -> Record:
        """A record, of revision 0 where there is none."""
        return self.ports.store.load(key)

    def events(self, name: str = "", subject: str = "") -> list[Event]:
        """The event log, oldest first."""
        found = self.ports.bus.log(Query(name=name, subject=subject, limit=1_000_000))
        return [logged.event for logged in found]

    def wait(self, what: str, condition: Callable[[], Value | None], seconds: float = 150) -> Value:
        """The condition's value once it is true. Fails at the deadline, telling all that has happened."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            value = condition()
            if value:
                return value
            time.sleep(0.02)
        pytest.fail(f"{what}: not within {seconds:.0f} s\n{self.story()}")

    def wait_status(self, key: str, *statuses: str, seconds: float = 150) -> Record:
        """The record once it has one of these statuses."""

        def reached() -> Record | None:
            record = self.record(key)
            return record if record.status in statuses else None

        return self.wait(f"{key} becomes {' or '.join(statuses)}", reached, seconds)

    def story(self) -> str:
        """What a person needs who asks why a test failed."""
        lines = [f"{event.time:%H:%M:%S.%f} {event.name} {event.subject}" for event in self.events()][-60:]
        dead = [f"{d.service} {d.event.name}: {d.cause}" for d in self.ports.bus.dead_letters()]
        newest = sorted(self.home.glob("cluster/*/log"), key=lambda path: path.stat().st_mtime)
        logs = newest[-MOST_LOGS:]
        ends = [f"--- {path.parent.name}\n{path.read_text(errors='replace')[-800:]}" for path in logs]
        text = self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""
        return "\n".join(["--- events", *lines, "--- dead letters", *dead, *ends, "--- platform", text])

    def _answers(self, process: subprocess.Popen[bytes]) -> Endpoints | None:
        if process.poll() is not None:
            pytest.fail(f"the platform ended with {process.returncode}\n{self.story()}")
        found = running(self.home)
        return found if found and found.pid == process.pid else None
