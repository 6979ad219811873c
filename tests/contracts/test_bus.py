"""The contract of `shared.ports.bus`, held by each adapter."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from events.envelope import Event
from shared.errors import Retry
from shared.ports.bus import Bus, Delivery, Query
from tests.contracts.adapters import NEEDS, PARAMETERS, PATIENCE, Opened, Place, event, small_disk, soon
from tests.memory import START

NAME = "training-progressed"
SHORT_LEASE = 0.15


@pytest.fixture(params=PARAMETERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param in NEEDS:
        request.getfixturevalue(NEEDS[request.param])
    place = Place(request.param, tmp_path / "home")
    yield place
    place.close()


@pytest.fixture
def opened(place: Place) -> Opened:
    return place.open()


@pytest.fixture
def bus(opened: Opened) -> Bus:
    opened.bus.subscribe("training", [NAME])
    return opened.bus


def lent(bus: Bus, limit: int = 100) -> list[Delivery]:
    return list(bus.lease(limit, 0))


def ids(deliveries: list[Delivery]) -> list[str]:
    return [delivery.event.id for delivery in deliveries]


def one(bus: Bus, wait: float = PATIENCE) -> Delivery:
    found = bus.lease(1, wait)
    assert len(found) == 1
    return found[0]


class TestDelivery:
    def test_a_subscriber_gets_the_event_as_it_was_said(self, bus: Bus):
        sent = event(1, traceparent="00-aa-bb-01", cause="e-0")
        bus.publish([sent])
        delivery = one(bus)
        assert (delivery.event, delivery.service, delivery.attempt) == (sent, "training", 1)
        assert delivery.lease

    def test_each_service_gets_its_own(self, bus: Bus):
        bus.subscribe("console", [NAME, "model-deployed"])
        bus.publish([event(1)])
        assert {d.service for d in lent(bus)} == {"training", "console"}

    def test_who_did_not_subscribe_gets_nothing(self, bus: Bus):
        bus.publish([event(1, name="model-deployed")])
        assert lent(bus) == []

    def test_to_subscribe_twice_is_to_subscribe_once(self, bus: Bus):
        bus.subscribe("training", [NAME])
        bus.publish([event(1)])
        assert ids(lent(bus)) == ["e-1"]

    def test_a_subscription_is_for_what_comes(self, bus: Bus):
        bus.publish([event(1)])
        bus.subscribe("late", [NAME])
        bus.publish([event(2)])
        assert [d.event.id for d in lent(bus) if d.service == "late"] == ["e-2"]

    def test_limit(self, bus: Bus):
        bus.publish([event(n, subject=f"runs/{n}") for n in range(5)])
        assert len(lent(bus, 3)) == 3
        assert len(lent(bus, 3)) == 2

    def test_an_empty_publish_changes_nothing(self, bus: Bus):
        bus.publish([])
        assert lent(bus) == []
        assert bus.log(Query()) == []


class TestSameEvent:
    def test_source_and_id_make_it_the_same(self, bus: Bus):
        bus.publish([event(1), event(1)])
        bus.publish([event(1)])
        assert ids(lent(bus)) == ["e-1"]
        assert len(bus.log(Query())) == 1

    def test_the_first_word_holds(self, bus: Bus):
        bus.publish([event(1)])
        bus.publish([event(1, data={"number": "another"})])
        assert one(bus).event.data == {"number": 1}

    def test_it_is_not_delivered_again_once_it_is_done(self, bus: Bus):
        bus.publish([event(1)])
        assert bus.ack(one(bus))
        bus.publish([event(1)])
        assert lent(bus) == []

    def test_another_source_is_another_event(self, bus: Bus):
        bus.publish([event(1), event(1, source="/other", subject="runs/other")])
        found = lent(bus)
        assert ids(found) == ["e-1", "e-1"]
        assert all(bus.ack(delivery) for delivery in found)
        assert lent(bus) == []


class TestOrder:
    def test_within_a_service_by_subject(self, bus: Bus):
        bus.publish([event(1), event(2), event(3)])
        for expected in ("e-1", "e-2", "e-3"):
            (delivery,) = lent(bus)
            assert delivery.event.id == expected
            bus.ack(delivery)

    def test_other_subjects_do_not_wait(self, bus: Bus):
        bus.publish([event(1), event(2), event(3, subject="runs/r-2")])
        assert ids(lent(bus)) == ["e-1", "e-3"]

    def test_other_services_do_not_wait(self, bus: Bus):
        bus.subscribe("console", [NAME])
        bus.publish([event(1), event(2)])
        first = {d.service: d for d in lent(bus)}
        bus.ack(first["console"])
        assert [(d.service, d.event.id) for d in lent(bus)] == [("console", "e-2")]

    def test_events_without_a_subject_do_not_wait_for_each_other(self, bus: Bus):
        bus.publish([event(1, subject=""), event(2, subject="")])
        assert ids(lent(bus)) == ["e-1", "e-2"]

    def test_a_retried_event_holds_back_the_later_ones(self, bus: Bus):
        bus.publish([event(1), event(2)])
        bus.retry(one(bus), 3600, "not yet")
        assert lent(bus) == []

    def test_a_buried_event_lets_the_later_ones_pass(self, bus: Bus):
        bus.publish([event(1), event(2)])
        bus.bury(one(bus), "hopeless")
        assert ids(lent(bus)) == ["e-2"]


class TestLease:
    def test_what_is_lent_is_not_lent_again(self, bus: Bus):
        bus.publish([event(1)])
        one(bus)
        assert lent(bus) == []

    def test_a_lease_that_ran_out_is_lent_anew_and_the_old_one_counts_no_more(self, place: Place):
        bus = place.open(lease_seconds=SHORT_LEASE).bus
        bus.subscribe("training", [NAME])
        bus.publish([event(1)])
        first = one(bus)
        second = one(bus)
        assert (first.attempt, second.attempt) == (1, 2)
        assert first.lease != second.lease
        assert not bus.ack(first)
        assert not bus.retry(first, 0, "late")
        assert not bus.bury(first, "late")
        assert bus.dead_letters() == []
        assert bus.ack(second)

    def test_an_ack_counts_once(self, bus: Bus):
        bus.publish([event(1)])
        delivery = one(bus)
        assert bus.ack(delivery)
        assert not bus.ack(delivery)
        assert not bus.retry(delivery, 0, "late")
        assert not bus.bury(delivery, "late")

    def test_a_lease_of_a_dead_process_runs_out_for_another(self, place: Place):
        script = (
            "ports.bus.subscribe('training', ['training-progressed']); ports.bus.publish([event(1)])\n"
            "print(ports.bus.lease(1, 5)[0].lease, flush=True); sys.stdin.read()\n"
        )
        with place.child(script) as child:
            assert child.stdout
            lease = child.stdout.readline().strip()
        bus = place.open().bus
        delivery = one(bus)
        assert (delivery.event, delivery.attempt) == (event(1), 2)
        assert lease not in ("", delivery.lease)
        assert bus.ack(delivery)

    def test_many_threads_lend_each_delivery_once(self, bus: Bus):
        bus.publish([event(n, subject=f"runs/{n % 20}") for n in range(100)])
        seen: list[str] = []

        def work() -> None:
            while deliveries := bus.lease(3, 0.3):
                for delivery in deliveries:
                    seen.append(delivery.event.id)
                    assert bus.ack(delivery)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == sorted(f"e-{n}" for n in range(100))


class TestRetry:
    def test_at_once(self, bus: Bus):
        bus.publish([event(1)])
        first = one(bus)
        assert bus.retry(first, 0, "again")
        second = one(bus)
        assert (second.event, second.attempt) == (first.event, 2)
        assert second.lease != first.lease
        assert not bus.ack(first)
        assert bus.ack(second)

    def test_not_before_its_time(self, bus: Bus):
        bus.publish([event(1)])
        began = time.monotonic()
        bus.retry(one(bus), 0.3, "later")
        assert lent(bus) == []
        one(bus)
        assert time.monotonic() - began >= 0.3


class TestDeadLetters:
    def test_they_tell_why_how_often_and_when(self, bus: Bus):
        before = datetime.now(UTC)
        bus.publish([event(1)])
        bus.retry(one(bus), 0, "again")
        assert bus.bury(one(bus), "it names no model")
        (letter,) = bus.dead_letters()
        assert (letter.event, letter.service) == (event(1), "training")
        assert (letter.cause, letter.attempts) == ("it names no model", 2)
        assert before <= letter.at <= datetime.now(UTC)
        assert lent(bus) == []

    def test_oldest_first_and_not_more_than_asked_for(self, bus: Bus):
        bus.publish([event(n, subject=f"runs/{n}") for n in range(3)])
        for delivery in lent(bus):
            bus.bury(delivery, "no")
        assert [letter.event.id for letter in bus.dead_letters()] == ["e-0", "e-1", "e-2"]
        assert [letter.event.id for letter in bus.dead_letters(2)] == ["e-0", "e-1"]

    def test_redriven_it_is_delivered_with_attempts_from_the_start(self, bus: Bus):
        bus.publish([event(1)])
        bus.retry(one(bus), 0, "again")
        bus.bury(one(bus), "no")
        assert bus.redrive("e-1", "training")
        assert bus.dead_letters() == []
        delivery = one(bus)
        assert (delivery.event, delivery.attempt) == (event(1), 1)
        assert bus.ack(delivery)

    def test_redriven_it_goes_before_later_events_of_its_subject(self, bus: Bus):
        bus.publish([event(1), event(2)])
        bus.bury(one(bus), "no")
        bus.redrive("e-1", "training")
        assert ids(lent(bus)) == ["e-1"]

    def test_without_a_subject_it_is_redriven_all_the_same(self, bus: Bus):
        bus.publish([event(1, subject="")])
        bus.bury(one(bus), "no")
        assert bus.redrive("e-1", "training")
        assert ids(lent(bus)) == ["e-1"]

    def test_only_of_the_service_that_is_named(self, bus: Bus):
        bus.subscribe("console", [NAME])
        bus.publish([event(1)])
        for delivery in lent(bus):
            bus.bury(delivery, "no")
        assert bus.redrive("e-1", "console")
        assert [letter.service for letter in bus.dead_letters()] == ["training"]

    @pytest.mark.parametrize(("known", "service"), [("e-2", "training"), ("e-1", "console")])
    def test_what_is_not_dead_is_not_redriven(self, bus: Bus, known: str, service: str):
        bus.publish([event(1)])
        bus.bury(one(bus), "no")
        assert not bus.redrive(known, service)
        bus.redrive("e-1", "training")
        assert not bus.redrive("e-1", "training")


class TestLog:
    @pytest.fixture(autouse=True)
    def said(self, bus: Bus) -> None:
        names = [NAME, "model-deployed"]
        self.events = [
            event(n, name=names[n % 2], subject=f"runs/{n % 3}", time=START + timedelta(minutes=n))
            for n in range(12)
        ]
        for number, one_event in enumerate(self.events):
            bus.publish([one_event] * (1 + number % 2))

    def found(self, bus: Bus, **query: object) -> list[int]:
        return [int(logged.event.data["number"]) for logged in bus.log(Query(**query))]  # type: ignore[arg-type]

    def test_all_of_it_in_order_with_growing_positions(self, bus: Bus):
        logged = bus.log(Query())
        assert [entry.event for entry in logged] == self.events
        positions = [entry.position for entry in logged]
        assert positions == sorted(set(positions))
        assert min(positions) > 0

    def test_by_name_and_subject(self, bus: Bus):
        assert self.found(bus, name="model-deployed") == [1, 3, 5, 7, 9, 11]
        assert self.found(bus, subject="runs/0") == [0, 3, 6, 9]
        assert self.found(bus, name="model-deployed", subject="runs/0") == [3, 9]
        assert self.found(bus, name="card-rendered") == []

    @pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=9)), timezone(timedelta(hours=-7))])
    def test_by_time_whatever_the_zone(self, bus: Bus, zone: timezone):
        since, until = (
            (START + timedelta(minutes=3)).astimezone(zone),
            (START + timedelta(minutes=6)).astimezone(zone),
        )
        assert self.found(bus, since=since, until=until) == [3, 4, 5]

    def test_by_times_between_the_whole_seconds(self, bus: Bus):
        moment = START + timedelta(minutes=3, microseconds=1)
        assert self.found(bus, since=moment, limit=1) == [4]
        assert self.found(bus, until=moment) == [0, 1, 2, 3]

    def test_events_said_in_another_zone_stand_where_they_belong(self, bus: Bus):
        elsewhere = timezone(timedelta(hours=9))
        bus.publish([event(12, time=(START + timedelta(minutes=12)).astimezone(elsewhere))])
        assert self.found(bus, since=START + timedelta(minutes=11)) == [11, 12]
        assert self.found(bus, until=START + timedelta(minutes=1)) == [0]

    def test_page_by_page(self, bus: Bus):
        pages, after = [], 0
        while page := bus.log(Query(after=after, limit=5)):
            pages.append([entry.event.data["number"] for entry in page])
            after = page[-1].position
        assert pages == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]

    def test_page_by_page_from_the_newest(self, bus: Bus):
        page = bus.log(Query(limit=5, newest=True))
        assert [entry.event.data["number"] for entry in page] == [11, 10, 9, 8, 7]
        page = bus.log(Query(after=page[-1].position, limit=5, newest=True))
        assert [entry.event.data["number"] for entry in page] == [6, 5, 4, 3, 2]

    def test_one_event_by_its_id(self, bus: Bus):
        assert bus.event("e-3") == self.events[3]
        assert bus.event("e-99") is None


class TestWaiting:
    def waiting(self, bus: Bus) -> tuple[threading.Thread, list[Delivery]]:
        found: list[Delivery] = []
        thread = threading.Thread(target=lambda: found.extend(bus.lease(1, 10 * PATIENCE)))
        thread.start()
        return thread, found

    def test_for_nothing_it_ends(self, bus: Bus):
        assert bus.lease(1, 0.05) == []

    def test_a_publish_wakes_it(self, bus: Bus):
        thread, found = self.waiting(bus)
        bus.publish([event(1)])
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert ids(found) == ["e-1"]

    def test_another_process_wakes_it(self, place: Place, bus: Bus):
        thread, found = self.waiting(bus)
        with place.child("ports.bus.publish([event(1)]); ports.close()") as child:
            assert child.wait(PATIENCE) == 0
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert ids(found) == ["e-1"]

    def test_a_delivery_that_comes_due_wakes_it(self, bus: Bus):
        bus.publish([event(1)])
        bus.retry(one(bus), 0.2, "later")
        thread, found = self.waiting(bus)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert ids(found) == ["e-1"]

    def test_an_ack_wakes_it_for_the_next_of_the_subject(self, bus: Bus):
        bus.publish([event(1), event(2)])
        first = one(bus)
        thread, found = self.waiting(bus)
        bus.ack(first)
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert ids(found) == ["e-2"]

    def test_it_can_be_told_to_stop(self, bus: Bus):
        thread, found = self.waiting(bus)
        bus.stop_leasing()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert found == []

    def test_stopped_it_lends_no_more_and_the_rest_goes_on(self, bus: Bus):
        bus.publish([event(1), event(2, subject="runs/r-2")])
        delivery = one(bus)
        bus.stop_leasing()
        assert bus.lease(10, PATIENCE) == []
        assert bus.ack(delivery)
        bus.publish([event(3)])
        assert len(bus.log(Query())) == 3


class TestProcesses:
    def test_what_another_process_subscribed_holds_for_all(self, place: Place):
        bus = place.open().bus
        with place.child("ports.bus.subscribe('training', ['training-progressed']); ports.close()") as child:
            assert child.wait(PATIENCE) == 0
        bus.publish([event(1)])
        assert ids(lent(bus)) == ["e-1"]

    def test_reopened_all_is_there(self, place: Place):
        first = place.open()
        first.bus.subscribe("training", [NAME])
        first.bus.publish([event(1), event(2, subject="runs/2")])
        first.bus.bury(one(first.bus), "no")
        first.close()
        second = place.open().bus
        assert len(second.log(Query())) == 2
        assert len(second.dead_letters()) == 1
        assert ids(lent(second)) == ["e-2"]

    def test_killed_nothing_is_lost_that_was_answered(self, place: Place):
        place.open().bus.subscribe("training", [NAME])
        script = "n = 0\nwhile True:\n    ports.bus.publish([event(f'{sys.argv[3]}-{n}')]); print(n, flush=True); n += 1\n"
        for life in range(3):
            with place.child(script, str(life)) as child:
                assert child.stdout
                told = [child.stdout.readline() for _ in range(25)]
                child.kill()
                told += child.stdout.readlines()
            answered = {f"e-{life}-{line.strip()}" for line in told if line.endswith("\n")}
            known = {logged.event.id for logged in place.open().bus.log(Query(limit=100_000))}
            assert len(answered) >= 25
            assert answered <= known

    def test_several_processes_say_the_same_events_at_once(self, place: Place):
        place.open().bus.subscribe("training", [NAME])
        script = "for n in range(40): ports.bus.publish([event(n, subject=f'runs/{n}')])\nports.close()"
        with place.child(script) as one_child, place.child(script) as another:
            assert [one_child.wait(PATIENCE), another.wait(PATIENCE)] == [0, 0]
        bus = place.open().bus
        assert sorted(ids(lent(bus, 1000))) == sorted(f"e-{n}" for n in range(40))

    def test_closed_it_says_try_again(self, opened: Opened, bus: Bus):
        opened.close()
        with pytest.raises(Retry, match="closed"):
            bus.publish([event(1)])


def test_a_full_disk_refuses_and_goes_on_once_there_is_room(
    tmp_path: Path, capability: Callable[[str, bool, str], None]
):
    with small_disk(tmp_path / "small", capability) as disk:
        place = Place("sqlite", disk / "home")
        bus = place.open().bus
        bus.subscribe("training", [NAME])
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1_200_000))
        kept = fill(bus)
        with pytest.raises(Retry, match="full: make room there and it goes on by itself"):
            bus.publish([event("refused", data={"text": "x" * 100_000})])
        ballast.unlink()
        bus.publish([event("after")])
        assert [logged.event.id for logged in bus.log(Query())] == [*kept, "e-after"]
        assert one(bus).event.id == kept[0]
        place.close()


def fill(bus: Bus) -> list[str]:
    """Publish until the disk is full; the ids of what was taken."""
    kept: list[str] = []
    for number in range(1000):
        try:
            bus.publish([event(number, data={"text": "x" * 20_000})])
        except Retry:
            return kept
        kept.append(f"e-{number}")
    raise AssertionError("a small disk took 20 MB")


class BusMachine(RuleBasedStateMachine):
    """Any order of calls, beside a model in lists. Leases never run out here; that is tested by itself."""

    adapter = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.place = Place(self.adapter, Path(self._folder.name) / "home")
        self.bus = self.place.open().bus
        self.hears: dict[str, set[str]] = {"training": set(), "console": set()}
        self.log: list[Event] = []
        self.open: list[tuple[str, Event, int]] = []  # service, event, attempts so far
        self.lent: dict[tuple[str, str], Delivery] = {}
        self.old: list[Delivery] = []
        self.dead: list[tuple[str, Event, int]] = []

    def teardown(self) -> None:
        self.place.close()
        self._folder.cleanup()

    @rule(service=st.sampled_from(["training", "console"]), name=st.sampled_from([NAME, "model-deployed"]))
    def subscribe(self, service: str, name: str) -> None:
        self.bus.subscribe(service, [name])
        self.hears[service].add(name)

    @rule(
        events=st.lists(
            st.builds(
                lambda n, subject, name: event(n, subject=subject, name=name),
                st.integers(0, 30),
                st.sampled_from(["runs/a", "runs/b", ""]),
                st.sampled_from([NAME, "model-deployed"]),
            ),
            max_size=4,
        )
    )
    def publish(self, events: list[Event]) -> None:
        self.bus.publish(events)
        for one_event in events:
            if one_event.id in {known.id for known in self.log}:
                continue
            self.log.append(one_event)
            self.open += [
                (service, one_event, 0) for service in self.hears if one_event.name in self.hears[service]
            ]

    @rule(limit=st.integers(1, 4))
    def lease(self, limit: int) -> None:
        due = self.due()
        found = self.bus.lease(limit, 0)
        assert len(found) == min(limit, len(due))
        for delivery in found:
            place = (delivery.service, delivery.event.id)
            service, its_event, attempts = due[place]
            assert (delivery.event, delivery.attempt) == (its_event, attempts + 1)
            self.open[self.open.index((service, its_event, attempts))] = (service, its_event, attempts + 1)
            self.lent[place] = delivery

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), how=st.sampled_from(["ack", "retry", "bury"]))
    def settle(self, data: st.DataObject, how: str) -> None:
        place = data.draw(st.sampled_from(sorted(self.lent)))
        delivery = self.lent.pop(place)
        entry = next(e for e in self.open if (e[0], e[1].id) == place)
        if how == "retry":
            assert self.bus.retry(delivery, 0, "again")
        else:
            self.open.remove(entry)
        if how == "ack":
            assert self.bus.ack(delivery)
        if how == "bury":
            assert self.bus.bury(delivery, "no")
            self.dead.append(entry)
        self.old.append(delivery)

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def settle_with_an_old_lease(self, data: st.DataObject) -> None:
        delivery = data.draw(st.sampled_from(self.old))
        assert not self.bus.ack(delivery)
        assert not self.bus.retry(delivery, 0, "late")
        assert not self.bus.bury(delivery, "late")

    @precondition(lambda self: self.dead)
    @rule(data=st.data())
    def redrive(self, data: st.DataObject) -> None:
        service, its_event, attempts = data.draw(st.sampled_from(self.dead))
        assert self.bus.redrive(its_event.id, service)
        self.dead.remove((service, its_event, attempts))
        self.open.append((service, its_event, 0))

    @rule()
    def reopen(self) -> None:
        self.place.close()
        self.bus = self.place.open().bus

    @invariant()
    def log_and_dead_letters_are_those_of_the_model(self) -> None:
        assert [entry.event for entry in self.bus.log(Query())] == self.log
        letters = [(letter.service, letter.event, letter.attempts) for letter in self.bus.dead_letters()]
        assert sorted(letters, key=str) == sorted(self.dead, key=str)

    def due(self) -> dict[tuple[str, str], tuple[str, Event, int]]:
        """The first open delivery of each service and subject, unless it is lent."""
        order = {one_event.id: position for position, one_event in enumerate(self.log)}
        firsts: dict[tuple[str, str], tuple[str, Event, int]] = {}
        for entry in sorted(self.open, key=lambda e: order[e[1].id]):
            firsts.setdefault((entry[0], entry[1].subject or entry[1].id), entry)
        return {(e[0], e[1].id): e for e in firsts.values() if (e[0], e[1].id) not in self.lent}


TestBusMachine = BusMachine.TestCase
TestBusMachine.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


class GoogleBusMachine(BusMachine):
    """The same on the emulators."""

    adapter = "google"


TestBusMachineOnGoogle = pytest.mark.slow(pytest.mark.usefixtures("emulators")(GoogleBusMachine.TestCase))
TestBusMachineOnGoogle.settings = settings(TestBusMachine.settings, max_examples=8)


def test_soon_is_patient_but_not_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.contracts.adapters.PATIENCE", 0.02)
    assert soon(lambda: True)
    assert not soon(lambda: False)
