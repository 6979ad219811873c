"""What makes a server of a workload on Kubernetes, and takes it away again."""

from __future__ import annotations

from typing import Protocol

from shared.ports.cluster import Workload


class Releaser(Protocol):
    """`apply` and `stop` are idempotent, and say nothing of readiness: that is read from what they made (`health`)."""

    def apply(self, workload: Workload) -> None:
        """Make it, or make it as it should be; as it should be already is success, and changes nothing.

        Raises Reject (wrong, or another workload under the name), Retry (not now), Unknown (no answer in time:
        the same call again reads back first).
        """
        ...

    def stop(self, name: str, namespace: str) -> None:
        """Take it away, with all that belongs to it; absent is success. Raises as `apply`."""
        ...

    def key(self, name: str) -> str:
        """What clients have to show to the server of that name. Raises Reject where only these know."""
        ...
