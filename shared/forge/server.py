"""An engine as the cluster is asked for it: what is the same of each, whoever asks and whatever it carries. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.forge.serving import READY_PATHS
from shared.ports.cluster import Limits, Workload
from shared.record import Do, Record

GRACE_SECONDS = 60.0  # between SIGTERM and SIGKILL, for answers under way
END_SECONDS = 5.0  # of these, for the pod to end in once its engine has


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """name: in the cluster. service: who asks; its pod is the service's. engine: by which it is asked whether it is
    ready. document: what only this kind of pod is told.
    """

    name: str
    service: str
    engine: Literal["llamafactory", "vllm"]
    document: dict[str, Any]
    labels: dict[str, str]


def workload(server: Server, do: Do, record: Record, ready_seconds: float) -> Workload:
    """Its pod is told how long its answers may take: less than the cluster's grace, of which it is the better part."""
    told = {
        "release": server.name,
        "cause": do.cause,
        "traceparent": do.traceparent,
        "grace_seconds": GRACE_SECONDS - END_SECONDS,
    }
    return Workload(
        name=server.name,
        service=server.service,
        key=record.key,
        kind="server",
        module=f"services.{server.service}.pod",
        document={**server.document, **told},
        limits=Limits(deadline_seconds=ready_seconds, grace_seconds=GRACE_SECONDS),
        ready_path=READY_PATHS[server.engine],
        labels=server.labels,
    )
