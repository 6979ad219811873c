"""A platform of its own process, to be killed: `platform_host <root> <said> [kill-at]`, workloads on stdin.

Writes each event to the file `said`, a line each. kill-at: the call before which it kills itself, one of
`launch` (written down, not started), `recorded` (started, not recorded), `said` (recorded, not published),
`noted` (published, not noted).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from events.envelope import Event
from shared.local.clock import SystemClock
from shared.local.cluster import state
from shared.local.cluster.attempt import Attempt
from shared.local.cluster.process_cluster import ProcessCluster
from shared.ports.cluster import Workload

ROOT, SAID = Path(sys.argv[1]), Path(sys.argv[2])
KILL_AT = sys.argv[3] if len(sys.argv) > 3 else ""


def kill_myself(*arguments: object, **named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def publish(events: Sequence[Event]) -> None:
    if KILL_AT == "said":
        kill_myself()
    with SAID.open("ab") as file:
        file.writelines(msgspec.json.encode(event) + b"\n" for event in events)
    if KILL_AT == "noted":
        kill_myself()


if KILL_AT == "launch":
    Attempt.launch = kill_myself  # type: ignore[method-assign, assignment]
if KILL_AT == "recorded":
    state.save = kill_myself

cluster = ProcessCluster(ROOT, publish, dict(os.environ), SystemClock())
for workload in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Workload]):
    cluster.apply(workload)
cluster.start()
threading.Event().wait()
