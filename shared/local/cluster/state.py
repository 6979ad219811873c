"""How a workload stands, as kept on disk: what a restarted platform goes on from."""

from __future__ import annotations

from typing import Literal

import msgspec

from events.envelope import Event
from shared.local.cluster.disk import write_whole
from shared.local.cluster.layout import Layout

FINISHED = frozenset({"succeeded", "failed"})
STOPPED = "Stopped"
SUSPENDED = "Suspended"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """We are ending an attempt. reason, message: why; at: since when (Unix seconds); grace: seconds between
    SIGTERM and SIGKILL; asked: SIGTERM was sent.
    """

    reason: str
    at: float
    grace: float
    message: str = ""
    asked: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """attempt: number of the running or the next start. restarts: those counted against the limit.

    spent_seconds: how long earlier attempts ran. began_at, ready_at, due_at: Unix seconds; when this attempt
    began, when it was ready, before when it shall not begin. unsaid: events that wait to be published.
    """

    attempt: int = 1
    phase: Literal["pending", "running", "ready", "succeeded", "failed"] = "pending"
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    address: str = ""
    restarts: int = 0
    spent_seconds: float = 0
    began_at: float = 0
    ready_at: float = 0
    due_at: float = 0
    ending: Ending | None = None
    unsaid: tuple[Event, ...] = ()


def load(layout: Layout) -> State:
    """The state on disk, or that of a workload which was never started."""
    try:
        return msgspec.json.decode(layout.state.read_bytes(), type=State)
    except FileNotFoundError:
        return State()


def save(layout: Layout, state: State) -> None:
    """Write it, synced. Raises Retry where the disk is full."""
    write_whole(layout.state, msgspec.json.encode(state))
