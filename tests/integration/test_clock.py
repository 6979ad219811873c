"""The machine's clock is set back: nothing that was due waits until the old time comes again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from events.envelope import Event
from shared.local import LocalPorts, open_ports
from shared.settings import Settings

HOUR = 3600.0
EVENT = Event(
    id="e-1",
    name="push-received",
    source="/test",
    subject="s",
    time=datetime(2026, 1, 1, tzinfo=UTC),
    data={},
)


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[LocalPorts]:
    opened = open_ports(Settings(home=tmp_path / "home", cache=tmp_path))
    opened.bus.subscribe("webhook", ["push-received"])
    yield opened
    opened.close()


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`shift(-3600)`: the clock goes by so much against the right time, from now on."""
    right = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: right() + seconds)


def test_what_was_published_before_is_due_after(ports: LocalPorts, shift: Callable[[float], None]) -> None:
    """The platform goes on while its clock is set back."""
    assert ports.bus.lease(1, 0) == []
    ports.bus.publish([EVENT])
    shift(-HOUR)
    (delivery,) = ports.bus.lease(1, 5)
    assert ports.bus.ack(delivery)
    assert ports.bus.pending() == 0


def test_what_was_to_be_tried_again_is_tried_at_the_next_start(
    ports: LocalPorts, shift: Callable[[float], None]
) -> None:
    ports.bus.publish([EVENT])
    (delivery,) = ports.bus.lease(1, 5)
    assert ports.bus.retry(delivery, 5, "not now")
    shift(-HOUR)
    ports.bus.expire_leases()
    (again,) = ports.bus.lease(1, 5)
    assert again.attempt == 2


def test_what_was_lent_before_a_kill_is_taken_back(ports: LocalPorts, shift: Callable[[float], None]) -> None:
    ports.bus.publish([EVENT])
    (delivery,) = ports.bus.lease(1, 5)
    shift(-HOUR)
    ports.bus.expire_leases()
    (again,) = ports.bus.lease(1, 5)
    assert not ports.bus.ack(delivery), "the old lease is worth nothing"
    assert ports.bus.ack(again)


def test_a_lease_outlives_a_clock_that_is_set_back(ports: LocalPorts, shift: Callable[[float], None]) -> None:
    """Whoever works on it goes on; nobody else is given it."""
    ports.bus.publish([EVENT])
    (delivery,) = ports.bus.lease(1, 5)
    shift(-HOUR)
    assert ports.bus.lease(1, 0) == []
    assert ports.bus.ack(delivery)
