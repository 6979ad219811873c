"""The cluster: jobs that end and servers that stay, each under a deterministic name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """memory_bytes: of all processes of the workload together. deadline_seconds: from start to end (job) or
    to ready (server). 0: no limit. restarts: how often it is started again after a death that was not its
    own verdict (killed, vanished, machine restarted). grace_seconds: between SIGTERM and SIGKILL.
    """

    memory_bytes: int = 0
    deadline_seconds: float = 0
    restarts: int = 3
    grace_seconds: float = 25


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What is to run.

    name: DNS label, from `shared.identity.workload_name`; the same name again is the same workload.
    service / key: who asked, and for which record; `workload-changed` carries both.
    module: Python module run as the pod (`python -m <module>`). document: what the pod reads (JSON types),
    as a file whose path is in the environment variable KUZNIA_POD.
    ready_path: servers only: HTTP path that answers 200 once it is ready.
    """

    name: str
    service: str
    key: str
    kind: Literal["job", "server"]
    module: str
    document: dict[str, Any]
    limits: Limits = Limits()
    ready_path: str = ""
    labels: dict[str, str] = {}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How a workload stands. address: `host:port` of a server. reason, message: as in `workload-changed`."""

    name: str
    kind: Literal["job", "server"]
    phase: Literal["pending", "running", "ready", "succeeded", "failed"]
    attempt: int
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    address: str = ""
    pid: int = 0


class Cluster(Protocol):
    """Whatever changes here is also said on the bus, as `workload-changed`, by the cluster's watch."""

    def apply(self, workload: Workload) -> None:
        """Create it if absent. The same workload again is success; another one under the name raises Reject.

        Raises Retry where the cluster cannot take it now.
        """
        ...

    def stop(self, name: str) -> None:
        """SIGTERM, a grace, SIGKILL; absent is success. A stopped workload is not started again."""
        ...

    def status(self, name: str) -> Status | None:
        """How it stands, or None where it was never applied."""
        ...

    def list(self) -> Sequence[Status]:
        """All that was applied and not yet forgotten."""
        ...

    def logs(self, name: str, tail: int = 200) -> str:
        """The last lines of its output over all attempts. Raises FileNotFoundError where there are none."""
        ...
