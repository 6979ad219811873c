"""What follows from the end of an attempt, and what is said of it: pure."""

from __future__ import annotations

import signal
from datetime import datetime

import msgspec
from msgspec.structs import replace

from events import workload_changed
from events.catalog import encode
from events.envelope import Event
from events.workload_changed import WorkloadChanged
from shared.identity import event_id
from shared.local.cluster.state import STOPPED, SUSPENDED, Ending, State
from shared.ports.cluster import Workload

SOURCE = "/kuznia/cluster"
PREEMPTED = 75  # exit code EX_TEMPFAIL: the state is saved, start me again
_SIGNAL_BASE = 128
_SETTLED_SECONDS = 600  # a server that was ready for so long has its restarts back
_FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 30.0
_OWN_VERDICT = "Error"


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """exit_code: as the shell tells it, 128 and the number for a signal; None where nobody saw it. last_words:
    the end of its output. port_taken: a server found its port in use. stopped: it was asked to stop for good.
    """

    exit_code: int | None
    last_words: str = ""
    port_taken: bool = False
    stopped: bool = False


def began(workload: Workload, state: State, *, at: float, address: str, now: datetime) -> State:
    """The attempt runs, since the Unix seconds `at`. Reason and message still tell why the one before it ended."""
    running = replace(state, phase="running", began_at=at, address=address, exit_code=None)
    return _saying(workload, running, now)


def became_ready(workload: Workload, state: State, now: datetime) -> State:
    """The server answers."""
    ready = replace(state, phase="ready", ready_at=now.timestamp(), reason="", message="")
    return _saying(workload, ready, now)


def stopped_before_start(state: State) -> State:
    """It was asked to stop while nothing of it ran."""
    return replace(state, phase="failed", reason=STOPPED, message="", ending=None)


def could_not_start(workload: Workload, state: State, message: str, now: datetime) -> State:
    """No process could be made of it."""
    return _failed(workload, state, ("Error", message), now)


def concluded(workload: Workload, state: State, death: Death, now: datetime) -> State:
    """The state after the attempt ended: finished, or pending with the next attempt."""
    ran = max(0.0, now.timestamp() - state.began_at) if state.began_at else 0.0
    ended = replace(
        state, exit_code=death.exit_code, spent_seconds=state.spent_seconds + ran, ending=None, address=""
    )
    ending = state.ending
    if ending and ending.reason not in {STOPPED, SUSPENDED}:
        return _failed(workload, ended, (ending.reason, _joined(ending.message, death.last_words)), now)
    if workload.kind == "job" and death.exit_code == 0 and not (ending and ending.reason == STOPPED):
        return _saying(workload, replace(ended, phase="succeeded", reason="", message=""), now)
    if death.stopped:
        return stopped_before_start(ended)
    if ending:
        return _again(ended, (SUSPENDED, ""), now, counted=False)
    return _after_its_own_death(workload, ended, death, now)


def _after_its_own_death(workload: Workload, ended: State, death: Death, now: datetime) -> State:
    why = _cause(death)
    if ended.phase == "ready" and now.timestamp() - ended.ready_at >= _SETTLED_SECONDS:
        ended = replace(ended, restarts=0)
    final = why[0] == _OWN_VERDICT and ended.phase != "ready"
    if final or ended.restarts >= workload.limits.restarts:
        return _failed(workload, ended, why, now)
    return _again(ended, why, now, counted=True)


def overdue(workload: Workload, state: State, now: datetime) -> Ending | None:
    """Why it must end now because of its deadline, if it must."""
    limit = workload.limits.deadline_seconds
    running = now.timestamp() - state.began_at
    if not limit or state.phase != "running" or running < remaining(workload, state):
        return None
    if workload.kind == "server":
        reason, message = "NotReady", f"{workload.ready_path} did not answer 200 within {limit:g} s"
    else:
        reason, message = "DeadlineExceeded", f"it did not end within {limit:g} s"
    return Ending(reason=reason, message=message, at=now.timestamp(), grace=workload.limits.grace_seconds)


def remaining(workload: Workload, state: State) -> float:
    """Seconds that this attempt has from its beginning: what earlier ones ran counts for a job."""
    spent = state.spent_seconds if workload.kind == "job" else 0
    return workload.limits.deadline_seconds - spent


def changed(workload: Workload, state: State, now: datetime) -> Event:
    """The event that tells of this phase; the same attempt, phase and reason give the same id."""
    assert state.phase != "pending", "nothing is said of what has not begun"
    payload = WorkloadChanged(
        name=workload.name,
        service=workload.service,
        key=workload.key,
        kind=workload.kind,
        phase=state.phase,
        attempt=state.attempt,
        reason=state.reason,
        message=state.message,
        exit_code=state.exit_code,
        address=state.address,
    )
    cause = f"{workload.name}#{state.attempt}"
    return Event(
        id=event_id(cause, workload_changed.NAME, state.phase + state.reason),
        name=workload_changed.NAME,
        source=SOURCE,
        subject=workload.key,  # that of its pod's own words, so that its end is heard after them
        time=now,
        data=encode(payload),
        traceparent=str(workload.document.get("traceparent", "")),
        cause=str(workload.document.get("cause", "")),
    )


def _saying(workload: Workload, state: State, now: datetime) -> State:
    return replace(state, unsaid=(*state.unsaid, changed(workload, state, now)))


def _failed(workload: Workload, state: State, why: tuple[str, str], now: datetime) -> State:
    return _saying(workload, replace(state, phase="failed", reason=why[0], message=why[1], ending=None), now)


def _again(ended: State, why: tuple[str, str], now: datetime, *, counted: bool) -> State:
    backoff = min(_FIRST_BACKOFF * 2**ended.restarts, LONGEST_BACKOFF) if counted else 0
    return State(
        attempt=ended.attempt + 1,
        reason=why[0],
        message=why[1],
        exit_code=ended.exit_code,
        restarts=ended.restarts + counted,
        spent_seconds=ended.spent_seconds,
        due_at=now.timestamp() + backoff,
        unsaid=ended.unsaid,
    )


def _cause(death: Death) -> tuple[str, str]:
    """Reason and message of a death that we did not cause."""
    code = death.exit_code
    if code is None:
        return "Vanished", _joined("it was gone, and nobody saw it end", death.last_words)
    if death.port_taken:
        return "PortTaken", _joined("the port that it was given was taken", death.last_words)
    if code == PREEMPTED:
        return "Preempted", death.last_words
    if code > _SIGNAL_BASE:
        return "Killed", _joined(f"killed by {_signal_name(code - _SIGNAL_BASE)}", death.last_words)
    return _OWN_VERDICT, death.last_words or f"it ended with exit code {code} and wrote nothing"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
