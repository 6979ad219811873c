"""The platform on the emulators: one process for console, gateway and cluster, and the services in others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from services.discovery import discover
from shared import profiles
from shared.google.assembly import open_project
from shared.google.settings import GoogleSettings
from tests.emulators import listens
from tests.integration.installation import Installation

LEASE_SECONDS = "10"


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class GoogleInstallation(Installation):
    """On a project of its own."""

    def __init__(self, home: Path, cache: Path, **options: str) -> None:
        self.project = f"kz-{uuid.uuid4().hex[:12]}"
        own = {
            profiles.VARIABLE: profiles.GCP,
            "GOOGLE_CLOUD_PROJECT": self.project,
            "KUZNIA_LEASE_SECONDS": LEASE_SECONDS,
        }
        super().__init__(home, cache, **own, **options)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._pushed_to: dict[str, int] = {}

    @property
    def ports(self) -> Any:
        """Its bus, store and artifacts, as another process opens them."""
        if self._ports is None:
            self._ports = open_project(self.settings, GoogleSettings(project=self.project, create=True))
        return self._ports

    def work(self, name: str, command: list[str], **more: str) -> None:
        """Start a process beside the platform; should it have run already, another one of it."""
        with self.home.with_name(f"{self.home.name}-{name}.log").open("ab") as log:
            self.workers[name] = subprocess.Popen(
                command,
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pull(self, *names: str, **more: str) -> None:
        """One service as a pull worker, or several as one."""
        self.work("-".join(names), [sys.executable, "-m", "services.worker", "pull", *names], **more)

    def push(self, name: str, **more: str) -> None:
        """One service behind functions-framework, on a port of its own that its subscriptions push to."""
        port = free_port()
        options = GoogleSettings(project=self.project, create=True, push=f"http://127.0.0.1:{port}")
        opened = open_project(self.settings, options)
        opened.bus.subscribe(name, discover()[name].hears)
        opened.close()
        words = ["--source", f"services/{name}/main.py", "--target", name]
        here = ["--host", "127.0.0.1", "--port", str(port)]
        framework = Path(sys.executable).with_name("functions-framework")
        self.work(name, [str(framework), *words, *here], **more)
        self._pushed_to[name] = port

    def wait_for_doors(self) -> None:
        """Until every service that is pushed to listens."""
        for name, port in self._pushed_to.items():
            self.wait(f"{name} listens", lambda port=port: listens(port), 120)

    def reconcile(self, *names: str) -> None:
        """What nobody pushes is looked after beside services that are pushed to."""
        self.work("reconcile", [sys.executable, "-m", "services.worker", "reconcile", *names])

    def stop_workers(self) -> None:
        """SIGTERM to all of them; each must end well, with nothing in hand."""
        for process in self.workers.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(150) for name, process in self.workers.items()}
        assert set(codes.values()) <= {0}, codes

    def close(self) -> None:
        """End whatever is left of it."""
        for process in self.workers.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        super().close()

    def story(self) -> str:
        """What a person needs who asks why a test failed."""
        logs = sorted(self.home.parent.glob(f"{self.home.name}-*.log"))
        told = [f"--- {path.stem}\n{path.read_text(errors='replace')[-2500:]}" for path in logs]
        return "\n".join([super().story(), *told])
