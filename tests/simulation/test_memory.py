"""The simulator's ports beside the SQLite ones: the same operations, the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from simulation.memory import MemoryArtifacts, MemoryBus, MemoryStore

from events.envelope import Event
from shared.errors import Conflict, Reject
from shared.local.artifacts import DirectoryArtifacts
from shared.local.bus import SqliteBus
from shared.local.store import SqliteStore, open_database
from shared.ports.bus import Delivery, Query
from shared.record import Do, Record

START = datetime(2026, 1, 5, tzinfo=UTC)
STATUSES = ("TRAINING", "SUCCEEDED", "FAILED", "REJECTED")
SEEDS = range(25)


def answer(act: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return act(*arguments)
    except (Conflict, Reject, FileNotFoundError) as error:
        return type(error).__name__


@contextmanager
def database(folder: Path) -> Iterator[Any]:
    opened = open_database(folder / "kuznia.db")
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_store(seed: int, tmp_path: Path):
    rand = Random(seed)
    with database(tmp_path) as opened:
        stores = (MemoryStore(), SqliteStore(opened))
        for step in range(40):
            key = f"runs/r-{rand.randrange(3)}"
            known = stores[0].load(key)
            outbox = (
                (Do(id=f"{step}", effect="launch", arguments={}, cause="e"),) if rand.random() < 0.5 else ()
            )
            written = Record(
                key=key,
                revision=known.revision if rand.random() < 0.8 else rand.randrange(4),
                status=rand.choice(STATUSES),
                data={"step": step},
                outbox=outbox,
                updated_at=START + timedelta(seconds=step),
            )
            first, second = [answer(store.commit, written) for store in stores]
            assert first == second
            before = START + timedelta(seconds=rand.randrange(45))
            status = rand.choice(("", *STATUSES))
            assert _read(stores[0], key, status, before) == _read(stores[1], key, status, before)


def _read(store: Any, key: str, status: str, before: datetime) -> list[Any]:
    return [store.load(key), list(store.list("runs", status=status)), list(store.owing(before=before))]


def event(number: int, subject: str) -> Event:
    name = ("training-progressed", "model-registered")[number % 2]
    return Event(id=f"e-{number}", name=name, source="/test", subject=subject, time=START, data={})


@pytest.mark.parametrize("seed", SEEDS)
def test_bus(seed: int, tmp_path: Path):
    """What is lent, to whom, in which order of each subject, and what is left at the end."""
    rand = Random(seed)
    with database(tmp_path) as opened:
        buses: tuple[Any, Any] = (MemoryBus(lambda: 0.0, lambda: START), SqliteBus(opened))
        for bus in buses:
            bus.subscribe("training", ["training-progressed"])
            bus.subscribe("registry", ["training-progressed", "model-registered"])
        held: list[tuple[Delivery, Delivery]] = []
        for _ in range(40):
            _step(rand, buses, held)
            assert [_told(letter) for letter in buses[0].dead_letters()] == [
                _told(letter) for letter in buses[1].dead_letters()
            ]
        query = Query(subject="s-1")
        assert buses[0].log(query) == buses[1].log(query)


def _step(rand: Random, buses: tuple[Any, Any], held: list[tuple[Delivery, Delivery]]) -> None:
    act = rand.random()
    if act < 0.4:
        events = [event(rand.randrange(30), f"s-{rand.randrange(3)}")]
        for bus in buses:
            bus.publish(events)
    elif act < 0.6:
        lent = [{(d.service, d.event.id): d for d in bus.lease(100, 0)} for bus in buses]
        assert lent[0].keys() == lent[1].keys()
        for key, first in lent[0].items():
            assert first.attempt == lent[1][key].attempt
            held.append((first, lent[1][key]))
    elif act < 0.9 and held:
        pair = held.pop(rand.randrange(len(held)))
        done = rand.choice(("ack", "bury", "retry", "twice"))
        found = [_finish(bus, delivery, done) for bus, delivery in zip(buses, pair, strict=True)]
        assert found[0] == found[1]
    elif letters := buses[0].dead_letters():
        letter = rand.choice(letters)
        found = [bus.redrive(letter.event.id, letter.service) for bus in buses]
        assert found == [True, True]


def _finish(bus: Any, delivery: Delivery, how: str) -> list[bool]:
    acts = {
        "ack": [lambda: bus.ack(delivery)],
        "bury": [lambda: bus.bury(delivery, "cause")],
        "retry": [lambda: bus.retry(delivery, 0, "error")],
        "twice": [lambda: bus.ack(delivery), lambda: bus.ack(delivery), lambda: bus.bury(delivery, "late")],
    }
    return [act() for act in acts[how]]


def _told(letter: Any) -> tuple[str, str, str, int]:
    return letter.service, letter.event.id, letter.cause, letter.attempts


@pytest.mark.parametrize("seed", range(5))
def test_artifacts(seed: int, tmp_path: Path):
    rand = Random(seed)
    stores: tuple[Any, Any] = (MemoryArtifacts(), DirectoryArtifacts(tmp_path))
    for _ in range(30):
        path, content = f"a/{rand.randrange(4)}", str(rand.randrange(2)).encode()
        name = rand.choice(("write", "create", "read", "list", "delete"))
        arguments = {"list": ("a/",), "read": (path,), "delete": (path,)}.get(name, (path, content))
        found = [answer(getattr(store, name), *arguments) for store in stores]
        assert found[0] == found[1]
