"""Something that runs in the cluster changed its state.

said by: the cluster's watch, engines (of adapters, under the releases' names)
heard by: training, validation, deployment, engines · subject: the record it runs for
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "workload-changed"


class WorkloadChanged(msgspec.Struct, frozen=True, kw_only=True):
    """service / key: who asked for it, for which record. attempt: counts starts under the same name.

    phase ready is said of servers only; succeeded and failed end a job, and failed a server's start.
    reason: one word (`OutOfMemory`, `DeadlineExceeded`, `Killed`, `Error`, `NotReady`, `Vanished`).
    """

    name: str
    service: str
    key: str
    kind: Literal["job", "server"]
    phase: Literal["running", "ready", "succeeded", "failed"]
    attempt: int
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    address: str = ""
