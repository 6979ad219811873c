"""The fake cluster as a service of this process: HTTP in front, controllers stepped by a thread."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from shared.kubernetes.fake.cluster import FakeCluster
from shared.kubernetes.fake.http import HttpFront
from shared.kubernetes.fake.processes import ProcessRuntime
from shared.local.clock import SystemClock

_STEP_SECONDS = 0.02


class FakeService:
    """Close it when done. folder: where pods really run, with what environment; None: they are models."""

    def __init__(
        self, folder: Path | None = None, environment: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        self._processes = ProcessRuntime(folder, environment or {}) if folder else None
        self.cluster = FakeCluster(SystemClock().now, self._processes)
        self._front = HttpFront(self.cluster.server, self.cluster.moved, port)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kube-controllers", daemon=True)

    @property
    def url(self) -> str:
        """Of the API."""
        return self._front.url

    def start(self) -> None:
        """Serve, and step."""
        self._front.start()
        self._thread.start()

    def close(self) -> None:
        """End it all, with the processes of pods."""
        self._closing.set()
        self._thread.join()
        self._front.close()
        if self._processes:
            self._processes.close()

    def _run(self) -> None:
        while not self._closing.wait(_STEP_SECONDS):
            self.cluster.settle()
