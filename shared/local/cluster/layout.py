"""Where things of one workload lie: `<root>/<name>/…`."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Layout(msgspec.Struct, frozen=True):
    """The folder of one workload. Its name is the workload's; names that begin with a dot are no workloads."""

    path: Path

    @property
    def name(self) -> str:
        """The workload's name."""
        return self.path.name

    @property
    def workload(self) -> Path:
        """What was applied; never changes."""
        return self.path / "workload.json"

    @property
    def state(self) -> Path:
        """How it stands; written by the supervisor only."""
        return self.path / "state.json"

    @property
    def stopped(self) -> Path:
        """Marker: it was asked to stop and shall not be started again."""
        return self.path / "stopped"

    @property
    def document(self) -> Path:
        """What the pod reads."""
        return self.path / "document.json"

    @property
    def log(self) -> Path:
        """Output of all attempts."""
        return self.path / "log"

    @property
    def older_log(self) -> Path:
        """What came before, once the log had grown too large."""
        return self.path / "log.1"

    def attempt(self, number: int) -> Path:
        """The folder of one start, from 1; it is the pod's working folder."""
        return self.path / f"attempt-{number}"
