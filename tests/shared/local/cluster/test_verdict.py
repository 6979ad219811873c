"""What follows from a death, as a table and as properties."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.catalog import decode
from shared.local.cluster.state import Ending, State
from shared.local.cluster.verdict import Death, changed, concluded, overdue
from shared.ports.cluster import Limits, Workload

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def workload(kind: Any = "job", **limits: Any) -> Workload:
    return Workload(
        name="w",
        service="training",
        key="runs/r",
        kind=kind,
        module="m",
        document={},
        limits=Limits(**limits),
    )


def state(**fields: Any) -> State:
    return State(**{"phase": "running", "began_at": NOW.timestamp() - 10, **fields})


@pytest.mark.parametrize(
    ("kind", "phase", "death", "outcome", "reason"),
    [
        ("job", "running", Death(exit_code=0), "succeeded", ""),
        ("job", "running", Death(exit_code=1), "failed", "Error"),
        ("job", "running", Death(exit_code=75), "pending", "Preempted"),
        ("job", "running", Death(exit_code=137), "pending", "Killed"),
        ("job", "running", Death(exit_code=255), "pending", "Killed"),
        ("job", "running", Death(exit_code=None), "pending", "Vanished"),
        ("job", "pending", Death(exit_code=0), "succeeded", ""),
        ("job", "running", Death(exit_code=137, stopped=True), "failed", "Stopped"),
        ("job", "running", Death(exit_code=0, stopped=True), "succeeded", ""),
        ("server", "running", Death(exit_code=0), "failed", "Error"),
        ("server", "running", Death(exit_code=1), "failed", "Error"),
        ("server", "running", Death(exit_code=1, port_taken=True), "pending", "PortTaken"),
        ("server", "running", Death(exit_code=137), "pending", "Killed"),
        ("server", "ready", Death(exit_code=0), "pending", "Error"),
        ("server", "ready", Death(exit_code=1), "pending", "Error"),
        ("server", "ready", Death(exit_code=1, stopped=True), "failed", "Stopped"),
    ],
)
def test_deaths(kind: str, phase: str, death: Death, outcome: str, reason: str) -> None:
    after = concluded(workload(kind), state(phase=phase), death, NOW)
    assert (after.phase, after.reason) == (outcome, reason)
    assert after.attempt == (2 if outcome == "pending" else 1)
    assert after.restarts == (1 if outcome == "pending" else 0)


@pytest.mark.parametrize(
    ("why", "code", "outcome", "reason"),
    [
        ("OutOfMemory", 137, "failed", "OutOfMemory"),
        ("DeadlineExceeded", 0, "failed", "DeadlineExceeded"),
        ("NotReady", 143, "failed", "NotReady"),
        ("Stopped", 0, "failed", "Stopped"),
        ("Suspended", 0, "succeeded", ""),
        ("Suspended", 1, "pending", "Suspended"),
        ("Suspended", 143, "pending", "Suspended"),
    ],
)
def test_deaths_that_we_caused(why: str, code: int, outcome: str, reason: str) -> None:
    ending = Ending(reason=why, at=NOW.timestamp(), grace=1, message="because")
    death = Death(exit_code=code, stopped=why == "Stopped", last_words="words")
    after = concluded(workload(), state(ending=ending), death, NOW)
    assert (after.phase, after.reason, after.ending) == (outcome, reason, None)
    assert after.restarts == 0
    if reason == "OutOfMemory":
        assert after.message == "because\nwords"


def test_a_stop_is_not_said() -> None:
    assert concluded(workload(), state(), Death(exit_code=143, stopped=True), NOW).unsaid == ()


def test_what_is_unsaid_stays_unsaid() -> None:
    first = changed(workload(), state(), NOW)
    again = concluded(workload(), state(unsaid=(first,)), Death(exit_code=75), NOW)
    assert again.unsaid == (first,)
    done = concluded(workload(), again, Death(exit_code=0), NOW)
    assert [decode(event).phase for event in done.unsaid] == ["running", "succeeded"]


def test_backoff_grows_and_is_bounded() -> None:
    pauses = [
        concluded(workload(restarts=99), state(restarts=done), Death(exit_code=75), NOW).due_at
        - NOW.timestamp()
        for done in range(12)
    ]
    assert pauses[:3] == [0.5, 1, 2]
    assert pauses[-1] == 30


def test_a_server_that_was_ready_for_long_has_its_restarts_back() -> None:
    long_ready = state(phase="ready", restarts=3, ready_at=NOW.timestamp() - 3600)
    assert concluded(workload("server"), long_ready, Death(exit_code=1), NOW).restarts == 1
    briefly = state(phase="ready", restarts=3, ready_at=NOW.timestamp() - 10)
    assert concluded(workload("server"), briefly, Death(exit_code=1), NOW).phase == "failed"


def test_time_spent_by_earlier_attempts_counts_for_a_job_only() -> None:
    late = state(spent_seconds=95)
    found = overdue(workload(deadline_seconds=100), late, NOW)
    assert found
    assert (found.reason, found.grace) == ("DeadlineExceeded", 25)
    assert overdue(workload("server", deadline_seconds=100), late, NOW) is None
    assert overdue(workload(deadline_seconds=0), late, NOW) is None
    after = concluded(workload(), late, Death(exit_code=75), NOW)
    assert after.spent_seconds == 105


@given(
    codes=st.lists(st.one_of(st.none(), st.integers(0, 255)), min_size=1, max_size=12),
    restarts=st.integers(0, 4),
    kind=st.sampled_from(["job", "server"]),
)
def test_it_always_comes_to_an_end(codes: list[int | None], restarts: int, kind: str) -> None:
    """However its attempts end, there are at most so many restarts, and one final event at most."""
    what = workload(kind, restarts=restarts)
    now = state()
    for code in codes:
        if now.phase in {"succeeded", "failed"}:
            break
        now = concluded(what, now, Death(exit_code=code), NOW)
    assert now.attempt <= restarts + 1
    final = [event for event in now.unsaid if decode(event).phase in {"succeeded", "failed"}]
    assert len(final) == (now.phase in {"succeeded", "failed"})
