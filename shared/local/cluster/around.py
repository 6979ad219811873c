"""What a workload under supervision is given: what all of them share, and one look at the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cached_property

import msgspec

from shared.local.cluster import processes
from shared.local.cluster.processes import Process
from shared.local.cluster.waits import Waits


class Around(msgspec.Struct, frozen=True, kw_only=True):
    """environment: what pods see besides our own variables. taken: addresses of the servers that live."""

    environment: Mapping[str, str]
    waits: Waits
    taken: Callable[[], Iterable[str]]


class Look:
    """One look: the time, and the processes if anybody asks. closing: nothing is started any more."""

    def __init__(self, now: datetime, *, closing: bool = False) -> None:
        self.now = now
        self.seconds = now.timestamp()
        self.closing = closing

    @cached_property
    def processes(self) -> dict[int, Process]:
        """All living processes, by pid."""
        return processes.table()
