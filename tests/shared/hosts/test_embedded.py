"""The embedded host over the real bus and store: retries, burials, bugs, sweeps, and a prompt end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.catalog import encode
from events.envelope import Event
from events.rollback_requested import RollbackRequested
from shared.errors import Reject, Retry, Unknown
from shared.hosts.embedded import THREADS, WAIT_SECONDS, EmbeddedHost
from shared.local import LocalPorts, open_ports
from shared.ports.bus import Query
from shared.record import Do, Record
from shared.service import Decision, Effect, Ports, Service, Speech, Wish
from shared.settings import Settings
from tests.contracts.adapters import PATIENCE, soon
from tests.memory import START

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Toy:
    """A service on the runs; `decides` and `makes` are what a test puts in place of its work."""

    def __init__(self) -> None:
        self.decided: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.decides: Callable[[str], None] = lambda name: None
        self.makes: Callable[[str], None] = lambda name: None
        self.delay = 0.0
        self.service = Service(
            name="toy",
            hears=("rollback-requested",),
            says=(),
            owns="runs",
            key=lambda event: f"runs/{event.data['model_id']}",
            decide=self._decide,
            effects=self._effects,
        )

    def _decide(self, record: Record, event: Event, now: Any) -> Decision:
        name = event.data["model_id"]
        self.decided[name] += 1
        self.decides(name)
        return Decision(status="TRAINING", data={}, wishes=(Wish("make", {"name": name}, self.delay),))

    def _effects(self, ports: Ports) -> dict[str, Effect]:
        def make(do: Do, record: Record) -> Sequence[Speech]:
            self.made[do.arguments["name"]] += 1
            self.makes(do.arguments["name"])
            return []

        return {"make": make}


class House:
    """A home, its ports, and hosts on it."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(
            home=home, cache=home / "cache", max_attempts=3, lease_seconds=2, reconcile_seconds=600
        )
        self.toy = Toy()
        self.local: LocalPorts = open_ports(self.settings)
        self.hosts: list[EmbeddedHost] = []

    def start(self, *services: Service) -> EmbeddedHost:
        named = {service.name: service for service in services or [self.toy.service]}
        host = EmbeddedHost(named, self.ports, self.local.bus)
        host.start()
        self.hosts.append(host)
        return host

    @property
    def ports(self) -> Ports:
        local = self.local
        return Ports(
            store=local.store,
            artifacts=local.artifacts,
            cluster=None,  # type: ignore[arg-type]
            clock=local.clock,
            settings=self.settings,
        )

    def close(self) -> None:
        for host in self.hosts:
            host.close()
        self.hosts.clear()
        self.local.close()

    def sweep_often(self) -> None:
        self.settings = msgspec.structs.replace(self.settings, reconcile_seconds=0.05)

    def reopen(self) -> None:
        """As another process would find it."""
        self.close()
        self.local = open_ports(self.settings)

    def say(self, *names: str) -> None:
        self.local.bus.publish([heard(name) for name in names])

    def record(self, name: str) -> Record:
        return self.local.store.load(f"runs/{name}")

    def done(self, *names: str) -> bool:
        return all(self.record(n).revision and not self.record(n).outbox for n in names) and self.idle()

    def idle(self) -> bool:
        return self.local.bus.pending() == 0


def heard(name: str, subject: str = "") -> Event:
    return Event(
        id=f"e-{name}",
        name="rollback-requested",
        source="/test",
        subject=subject or f"releases/{name}",
        time=START,
        data=encode(RollbackRequested(model_id=name, version="1.0.0", by="ben")),
    )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "home")
    yield house
    house.close()


def failing(error: Exception, times: int) -> Callable[[str], None]:
    left = iter(range(times))
    lock = threading.Lock()

    def fail(name: str) -> None:
        with lock:
            found = next(left, None)
        if name == "bad" and found is not None:
            raise error

    return fail


def test_what_is_said_is_done(house: House):
    house.start()
    names = [f"r-{number}" for number in range(30)]
    house.say(*names)
    assert soon(lambda: house.done(*names))
    assert house.toy.decided == house.toy.made == Counter(names)


def test_what_was_said_while_it_was_down_is_done_too(house: House):
    house.start().close()
    house.say("late")
    house.reopen()
    house.start()
    assert soon(lambda: house.done("late"))


@pytest.mark.parametrize("error", [Retry("not yet", after=0.01), Unknown("no answer"), KeyError("loss")])
@pytest.mark.parametrize("where", ["decides", "makes"])
def test_trouble_that_passes_is_tried_again(
    house: House, where: str, error: Exception, caplog: pytest.LogCaptureFixture
):
    setattr(house.toy, where, failing(error, times=2))
    house.start()
    house.say("bad")
    assert soon(lambda: house.done("bad"))
    assert house.local.bus.dead_letters() == []
    assert house.record("bad").dead is None
    if isinstance(error, KeyError):
        assert "Traceback" in caplog.text  # a bug is told with its stack


@pytest.mark.parametrize("error", [Retry("not yet", after=0.01), KeyError("loss")], ids=["retry", "bug"])
def test_trouble_that_stays_is_buried_with_its_cause_and_holds_up_nobody(house: House, error: Exception):
    house.toy.decides = failing(error, times=1000)
    house.start()
    house.say("bad", "good")
    assert soon(lambda: house.local.bus.dead_letters() and house.done("good"))
    (letter,) = house.local.bus.dead_letters()
    assert (letter.event.id, letter.attempts) == ("e-bad", 3)
    assert letter.cause == f"{type(error).__name__}: {error}"
    assert house.toy.decided["bad"] == 3


def test_an_effect_that_fails_for_good_is_told_in_the_record_too(house: House):
    house.toy.makes = failing(Retry("no room", after=0.01), times=1000)
    house.start()
    house.say("bad")
    assert soon(house.local.bus.dead_letters)
    dead = house.record("bad").dead
    assert dead is not None
    assert (dead.event, dead.cause) == ("e-bad", "Retry: no room")


def test_refused_it_is_buried_at_once(house: House):
    house.toy.decides = failing(Reject("it names no model"), times=1000)
    house.start()
    house.say("bad")
    assert soon(house.local.bus.dead_letters)
    assert [(letter.cause, letter.attempts) for letter in house.local.bus.dead_letters()] == [
        ("it names no model", 1)
    ]


def test_redriven_it_is_done(house: House):
    house.toy.decides = failing(Reject("no"), times=1)
    house.start()
    house.say("bad")
    assert soon(house.local.bus.dead_letters)
    assert house.local.bus.redrive("e-bad", "toy")
    assert soon(lambda: house.done("bad"))


def test_a_payload_that_is_none_is_buried_at_once(house: House):
    house.start()
    house.local.bus.publish([msgspec.structs.replace(heard("bad"), data={"mood": "bad"})])
    assert soon(house.local.bus.dead_letters)
    (letter,) = house.local.bus.dead_letters()
    assert "missing required field `model_id`" in letter.cause
    assert letter.attempts == 1


def test_a_bug_in_reading_the_key_ends_in_the_dead_letters(house: House):
    def key(event: Event) -> str:
        raise ZeroDivisionError("no key")

    house.start(msgspec.structs.replace(house.toy.service, key=key))
    house.say("bad")
    assert soon(house.local.bus.dead_letters)
    (letter,) = house.local.bus.dead_letters()
    assert (letter.cause, letter.attempts) == ("ZeroDivisionError: no key", 3)


def test_a_delivery_for_a_service_that_is_no_more_is_buried(house: House):
    house.local.bus.subscribe("gone", ["rollback-requested"])
    house.start()
    house.say("one")
    assert soon(lambda: house.local.bus.dead_letters() and house.done("one"))
    (letter,) = house.local.bus.dead_letters()
    assert (letter.service, letter.cause) == ("gone", "no service is called 'gone'")


def test_the_sweep_does_what_nobody_delivers_again(house: House):
    house.sweep_often()
    owed = Do(id="do-1", effect="make", arguments={"name": "owed"}, cause="e-owed")
    record = Record(
        key="runs/owed", status="TRAINING", outbox=(owed,), created_at=LONG_AGO, updated_at=LONG_AGO
    )
    house.local.store.commit(record)
    house.start()
    assert soon(lambda: house.toy.made["owed"] and not house.record("owed").outbox)


def test_the_sweep_does_what_was_to_be_done_later(house: House):
    house.sweep_often()
    house.toy.delay = 0.3
    house.start()
    house.say("later")
    assert soon(lambda: house.record("later").revision)
    assert house.toy.made["later"] == 0
    assert soon(lambda: house.done("later"))
    assert house.toy.made["later"] == 1


@pytest.mark.parametrize(
    "error", [Retry("no"), Reject("no"), KeyError("loss")], ids=["retry", "reject", "bug"]
)
def test_one_record_s_trouble_does_not_stop_the_sweep_of_others(house: House, error: Exception):
    house.sweep_often()
    for name in ("bad", "good"):
        owed = Do(id=f"do-{name}", effect="make", arguments={"name": name}, cause=f"e-{name}")
        house.local.store.commit(
            Record(
                key=f"runs/{name}",
                status="TRAINING",
                outbox=(owed,),
                created_at=LONG_AGO,
                updated_at=LONG_AGO,
            )
        )
    house.toy.makes = failing(error, times=1000)
    house.start()
    assert soon(lambda: house.toy.made["bad"] and not house.record("good").outbox)
    assert house.record("bad").outbox


def test_not_more_effects_at_once_than_there_are_threads(house: House):
    inside, most, gate = 0, 0, threading.Condition()

    def makes(name: str) -> None:
        nonlocal inside, most
        with gate:
            inside += 1
            most = max(most, inside)
            gate.notify_all()
            gate.wait_for(lambda: most >= THREADS, PATIENCE)
            inside -= 1

    house.toy.makes = makes
    house.start()
    names = [f"r-{number}" for number in range(3 * THREADS)]
    house.say(*names)
    assert soon(lambda: house.done(*names))
    assert most == THREADS


def test_an_idle_host_ends_long_before_its_wait_does(house: House):
    host = house.start()
    closing = threading.Thread(target=host.close)
    closing.start()
    closing.join(WAIT_SECONDS / 10)
    assert not closing.is_alive()


def no_more_is_lent(bus: Any) -> threading.Event:
    """Set once the bus was told so: only then is it sure that what is said stays."""
    told, stop_leasing = threading.Event(), bus.stop_leasing

    def stop() -> None:
        stop_leasing()
        told.set()

    bus.stop_leasing = stop
    return told


def test_closing_waits_for_what_is_in_hand_and_lends_no_more(house: House):
    begun, go_on = threading.Event(), threading.Event()

    def makes(name: str) -> None:
        begun.set()
        go_on.wait(PATIENCE)

    house.toy.makes = makes
    host = house.start()
    house.say("one")
    assert begun.wait(PATIENCE)
    stopped = no_more_is_lent(house.local.bus)
    closing = threading.Thread(target=host.close)
    closing.start()
    assert stopped.wait(PATIENCE)
    house.say("two")
    assert closing.is_alive()
    go_on.set()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert house.record("one").outbox == ()
    assert house.record("two").revision == 0
    assert house.local.bus.pending() == 1


def test_a_bus_that_cannot_be_asked_is_asked_again(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shared.hosts.embedded.PAUSE_SECONDS", 0.05)
    real, errors = house.local.bus.lease, iter([Retry("the disk is full"), KeyError("a bug")])

    def lease(limit: int, wait: float) -> Any:
        if error := next(errors, None):
            raise error
        return real(limit, wait)

    monkeypatch.setattr(house.local.bus, "lease", lease)
    house.start()
    house.say("one")
    assert soon(lambda: house.done("one"))


def test_an_outcome_that_could_not_be_written_comes_again_once_the_lease_ran_out(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    real, errors = house.local.bus.ack, iter([Retry("the disk is full")])

    def ack(delivery: Any) -> bool:
        if error := next(errors, None):
            raise error
        return real(delivery)

    monkeypatch.setattr(house.local.bus, "ack", ack)
    house.start()
    house.say("one")
    assert soon(lambda: house.done("one"))
    assert house.toy.decided["one"] == house.toy.made["one"] == 1
    assert len(house.local.bus.log(Query())) == 1


def test_two_hosts_on_one_home_do_each_thing_once(house: House):
    house.start()
    other = open_ports(house.settings)
    host = EmbeddedHost({"toy": house.toy.service}, house.ports, other.bus)
    host.start()
    names = [f"r-{number}" for number in range(40)]
    house.say(*names)
    assert soon(lambda: house.done(*names))
    host.close()
    other.close()
    assert house.toy.made == Counter(names)
