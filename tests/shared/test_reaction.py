"""The loop: decided once, done at least once, and the same end wherever it was cut off."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from events.catalog import encode
from events.deployment_failed import DeploymentFailed
from events.envelope import Event
from events.rollback_requested import RollbackRequested
from shared import reaction
from shared.errors import Conflict, KuzniaError, Reject, Retry, Unknown
from shared.reaction import Commit, Load, Now, Perform, Publish, drain, give_up, react
from shared.record import Do, Record
from shared.service import Decision, Effect, Service, Speech, Wish
from tests.memory import START, ManualClock, MemoryBus, MemoryStore

KEY = "runs/toy"
DELAY = 5.0


def key(event: Event) -> str | None:
    return None if event.data["version"] == "nobody's" else KEY


def decide(record: Record, event: Event, now: Any) -> Decision | None:
    """Counts; says one event; asks for two effects, one of them later. What it decides, `version` asks for."""
    asked = event.data["version"]
    if asked == "nothing":
        return None
    if asked in ERRORS:
        raise ERRORS[asked]("said by decide")
    heard = [*record.data.get("heard", []), asked]
    said = DeploymentFailed(model_id="toy", version=asked, release="", cause=f"{len(heard)} heard")
    return Decision(
        status="TRAINING",
        data={"heard": heard},
        says=(Speech(said, KEY),),
        wishes=(Wish("make", {"name": asked}), Wish("clean", {"name": asked}, delay=DELAY)),
    )


ERRORS: Mapping[str, type[KuzniaError]] = {"retry": Retry, "reject": Reject, "unknown": Unknown}
TOY = Service(
    name="toy",
    hears=("rollback-requested",),
    says=("deployment-failed",),
    owns="runs",
    key=key,
    decide=decide,
    effects=lambda ports: {},
)


class Toy:
    """The world of a toy service, and a driver that can be told to fail at any call."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore()
        self.bus = MemoryBus(self.clock)
        self.made: dict[str, int] = {}
        self.cleaned: dict[str, int] = {}
        self.calls: list[str] = []
        self.trouble: dict[str, Callable[[], object]] = {}
        self.effects: Mapping[str, Effect] = {"make": self._make, "clean": self._clean}

    def run(self, steps: Generator[Any, Any, Any], most: int = 10_000) -> Any:
        """To its end, or only so many calls: then it is closed, as by a crash."""
        answer: Any = None
        error: KuzniaError | None = None
        for count in itertools.count():
            try:
                call = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            if count >= most:
                steps.close()
                raise Crash
            answer, error = None, None
            try:
                answer = self.carry_out(call)
            except KuzniaError as failure:
                error = failure
        raise AssertionError

    def carry_out(self, call: Any) -> Any:
        name = call.do.effect if isinstance(call, Perform) else type(call).__name__.lower()
        self.calls.append(name)
        if name in self.trouble:
            self.trouble[name]()
        match call:
            case Now():
                return self.clock.now()
            case Load(key):
                return self.store.load(key)
            case Commit(record):
                return self.store.commit(record)
            case Publish(events):
                return self.bus.publish(events)
            case Perform(_, do, record):
                return self.effects[do.effect](do, record)

    def hear(self, event: Event, most: int = 10_000) -> Record | None:
        return self.run(react(TOY, event), most)

    def sweep(self) -> Record:
        return self.run(drain(TOY, self.record))

    @property
    def record(self) -> Record:
        return self.store.load(KEY)

    def said(self) -> list[tuple[str, str]]:
        return [(event.name, event.data["cause"]) for event in self.bus.events]

    def state(self) -> tuple[Any, ...]:
        record = self.record
        return record.status, record.data, record.inbox, record.outbox, record.dead, self.said()

    def _make(self, do: Do, record: Record) -> Sequence[Speech]:
        name = do.arguments["name"]
        self.made[name] = self.made.get(name, 0) + 1
        return [
            Speech(DeploymentFailed(model_id="toy", version=name, release=name, cause=f"{name} made"), KEY)
        ]

    def _clean(self, do: Do, record: Record) -> Sequence[Speech]:
        name = do.arguments["name"]
        self.cleaned[name] = self.cleaned.get(name, 0) + 1
        return []


class Crash(BaseException):
    """The process was killed here."""


@pytest.fixture
def toy() -> Toy:
    return Toy()


def heard(version: str = "one", number: int | None = None) -> Event:
    return Event(
        id=f"e-{version if number is None else number}",
        name="rollback-requested",
        source="/test",
        subject="releases/toy",
        time=START,
        data=encode(RollbackRequested(model_id="toy", version=version, by="ben")),
        traceparent="00-trace",
        cause="e-0",
    )


def failing(error: KuzniaError, times: int = 1) -> Callable[[], None]:
    """Raise it the first so many times."""
    left = iter(range(times))

    def fail() -> None:
        if next(left, None) is not None:
            raise error

    return fail


class TestOnce:
    def test_decide_commit_drain(self, toy: Toy):
        toy.hear(heard())
        assert toy.calls == ["load", "now", "commit", "now", "publish", "make", "publish", "commit"]
        assert toy.record.status == "TRAINING"
        assert toy.record.inbox == ("e-one",)
        assert (toy.made, toy.cleaned) == ({"one": 1}, {})
        assert toy.said() == [("deployment-failed", "1 heard"), ("deployment-failed", "one made")]

    def test_when_it_was_made_and_changed_is_kept(self, toy: Toy):
        toy.hear(heard())
        toy.clock.move(60)
        toy.hear(heard("two"))
        assert (toy.record.created_at, toy.record.updated_at) == (START, START + timedelta(seconds=60))

    def test_a_duplicate_changes_nothing(self, toy: Toy):
        toy.hear(heard())
        before = toy.state()
        for _ in range(3):
            toy.hear(heard())
        assert toy.state() == before
        assert toy.made == {"one": 1}

    def test_what_is_said_names_its_cause_and_keeps_the_trace(self, toy: Toy):
        toy.hear(heard())
        said, told = toy.bus.events
        assert (said.source, said.subject, said.cause, said.traceparent) == (
            "/kuznia/toy", KEY, "e-one", "00-trace",
        )  # fmt: skip
        assert (told.cause, told.traceparent) == ("e-one", "00-trace")
        assert said.id != told.id

    def test_ids_follow_from_the_cause_alone(self, toy: Toy):
        other = Toy()
        other.clock.move(3600)
        for world in (toy, other):
            world.hear(heard())
        assert [event.id for event in toy.bus.events] == [event.id for event in other.bus.events]

    def test_an_event_of_no_record_asks_for_nothing(self, toy: Toy):
        assert toy.hear(heard("nobody's")) is None
        assert toy.calls == []

    def test_where_nothing_follows_nothing_is_written(self, toy: Toy):
        assert toy.hear(heard("nothing")) == Record(key=KEY)
        assert toy.store.commits == 0

    def test_where_nothing_follows_what_is_owed_is_done_all_the_same(self, toy: Toy):
        with pytest.raises(Crash):
            toy.hear(heard(), most=3)
        toy.hear(heard("nothing"))
        assert toy.made == {"one": 1}

    def test_a_payload_that_is_none_is_refused_before_a_key_is_read_from_it(self, toy: Toy):
        event = Event(id="e-1", name="rollback-requested", source="/x", subject="", time=START, data={"a": 1})
        with pytest.raises(Reject, match=r"rollback-requested e-1: .*missing required field `model_id`"):
            toy.hear(event)
        with pytest.raises(Reject):
            toy.run(give_up(TOY, event, "why"))
        assert toy.calls == []


class TestCrash:
    """The generator is closed before its n-th call, and later the event comes again."""

    ALL = 8  # calls of one reaction

    @pytest.mark.parametrize("most", range(ALL))
    def test_at_any_call_leads_to_the_same_end(self, toy: Toy, most: int):
        whole = Toy()
        whole.hear(heard())
        with pytest.raises(Crash):
            toy.hear(heard(), most=most)
        toy.hear(heard())
        assert toy.state() == whole.state()
        assert toy.made["one"] >= 1

    @pytest.mark.parametrize("most", list(itertools.product(range(ALL), repeat=2)), ids=str)
    def test_twice_as_well(self, toy: Toy, most: tuple[int, int]):
        whole = Toy()
        whole.hear(heard())
        for calls in most:
            try:
                toy.hear(heard(), most=calls)
            except Crash:
                continue
        toy.hear(heard())
        assert toy.state() == whole.state()

    @pytest.mark.parametrize("most", range(ALL))
    def test_where_nobody_delivers_again_the_sweep_ends_it(self, toy: Toy, most: int):
        with pytest.raises(Crash):
            toy.hear(heard(), most=most)
        if toy.record.revision:
            toy.sweep()
            assert toy.made["one"] >= 1
            assert len(toy.said()) == 2
        else:
            assert (toy.made, toy.said()) == ({}, [])

    @pytest.mark.parametrize("most", range(ALL))
    def test_another_event_in_between_takes_nothing_away(self, toy: Toy, most: int):
        with pytest.raises(Crash):
            toy.hear(heard("one"), most=most)
        toy.hear(heard("two"))
        toy.hear(heard("one"))
        assert sorted(toy.record.data["heard"]) == ["one", "two"]
        assert sorted(toy.made) == ["one", "two"]
        assert sorted(cause for _, cause in toy.said()) == ["1 heard", "2 heard", "one made", "two made"]
        assert all(isinstance(intent, Do) and intent.not_before for intent in toy.record.outbox)


class TestConflict:
    def test_it_starts_over_with_what_the_other_wrote(self, toy: Toy):
        rivals = iter([heard("rival")])

        def rival() -> None:
            for event in rivals:
                Toy.hear(other, event)

        other = Toy()
        other.store, other.bus = toy.store, toy.bus
        toy.trouble["commit"] = rival
        toy.hear(heard())
        assert toy.record.data["heard"] == ["rival", "one"]
        assert toy.record.inbox == ("e-rival", "e-one")
        assert toy.calls[:6] == ["load", "now", "commit", "load", "now", "commit"]

    def test_the_same_event_elsewhere_is_found_decided(self, toy: Toy):
        twin = Toy()
        twin.store, twin.bus = toy.store, toy.bus
        twins = iter([heard()])
        toy.trouble["commit"] = lambda: [twin.hear(event) for event in twins]
        toy.hear(heard())
        assert toy.record.data["heard"] == ["one"]
        assert len(toy.said()) == 2

    def test_it_does_not_go_on_for_ever(self, toy: Toy):
        toy.trouble["commit"] = failing(Conflict("always"), times=10_000)
        with pytest.raises(Retry, match=rf"{KEY}: other writers were faster {reaction.MAX_CONFLICTS} times"):
            toy.hear(heard())
        assert toy.calls.count("commit") == reaction.MAX_CONFLICTS

    def test_while_striking_off_it_strikes_off_the_newer_record(self, toy: Toy):
        conflicts = iter([None, "settle"])
        other = Toy()
        other.store, other.bus = toy.store, toy.bus

        def rival() -> None:
            if next(conflicts, None) == "settle":
                other.hear(heard("two"))

        toy.trouble["commit"] = rival
        toy.hear(heard("one"))
        assert toy.record.data["heard"] == ["one", "two"]
        assert [intent.arguments["name"] for intent in toy.record.outbox if isinstance(intent, Do)] == [
            "one",
            "two",
        ]
        assert {intent.effect for intent in toy.record.outbox if isinstance(intent, Do)} == {"clean"}


class TestTrouble:
    @pytest.mark.parametrize(
        "error", [Retry("r", after=7), Unknown("u"), Reject("j")], ids=["retry", "unknown", "reject"]
    )
    @pytest.mark.parametrize("call", ["load", "now", "commit"])
    def test_before_the_decision_is_kept_nothing_has_happened(self, toy: Toy, call: str, error: KuzniaError):
        toy.trouble[call] = failing(error)
        with pytest.raises(type(error)) as raised:
            toy.hear(heard())
        assert raised.value is error
        assert (toy.record.revision, toy.made, toy.said()) == (0, {}, [])
        toy.hear(heard())
        assert toy.made == {"one": 1}

    @pytest.mark.parametrize("asked", ERRORS)
    def test_decide_may_say_it_too(self, toy: Toy, asked: str):
        with pytest.raises(ERRORS[asked], match="said by decide"):
            toy.hear(heard(asked))
        assert toy.record.revision == 0

    @pytest.mark.parametrize(
        "error", [Retry("r"), Unknown("u"), Conflict("c")], ids=["retry", "unknown", "conflict"]
    )
    @pytest.mark.parametrize("call", ["publish", "make"])
    def test_after_it_what_is_open_stays_owed(self, toy: Toy, call: str, error: KuzniaError):
        toy.trouble[call] = failing(error)
        with pytest.raises(type(error)):
            toy.hear(heard())
        assert toy.record.inbox == ("e-one",)
        assert toy.record.dead is None
        assert {"one made"} - {cause for _, cause in toy.said()}
        toy.hear(heard())
        assert toy.made == {"one": 1}
        assert [cause for _, cause in toy.said()] == ["1 heard", "one made"]

    def test_what_was_done_before_it_is_struck_off(self, toy: Toy):
        toy.trouble["make"] = failing(Retry("later"))
        with pytest.raises(Retry):
            toy.hear(heard())
        assert [intent.effect for intent in toy.record.outbox if isinstance(intent, Do)] == ["make", "clean"]
        assert len(toy.record.outbox) == 2

    def test_an_effect_whose_words_could_not_be_said_is_done_again(self, toy: Toy):
        publishes = iter([None, Retry("full")])

        def second() -> None:
            if error := next(publishes, None):
                raise error

        toy.trouble["publish"] = second
        with pytest.raises(Retry):
            toy.hear(heard())
        toy.hear(heard())
        assert toy.made == {"one": 2}
        assert len(toy.said()) == 2


class TestLater:
    def test_a_delayed_effect_is_not_done_before_its_time(self, toy: Toy):
        toy.hear(heard())
        (intent,) = toy.record.outbox
        assert isinstance(intent, Do)
        assert intent.not_before == START + timedelta(seconds=DELAY)
        toy.clock.move(DELAY - 0.001)
        toy.sweep()
        assert toy.cleaned == {}
        toy.clock.move(0.001)
        toy.sweep()
        assert toy.cleaned == {"one": 1}
        assert toy.record.outbox == ()

    def test_where_nothing_is_due_nothing_is_written(self, toy: Toy):
        toy.hear(heard())
        commits = toy.store.commits
        toy.sweep()
        assert toy.store.commits == commits

    def test_any_later_event_does_it_once_it_is_due(self, toy: Toy):
        toy.hear(heard("one"))
        toy.clock.move(DELAY)
        toy.hear(heard("two"))
        assert toy.cleaned == {"one": 1}


class TestDead:
    def refused(self, toy: Toy, times: int = 1) -> None:
        toy.trouble["make"] = failing(Reject("the name is taken"), times)
        with pytest.raises(Reject, match="the name is taken"):
            toy.hear(heard("one"))

    def test_an_effect_that_can_never_succeed_kills_the_record_with_its_cause(self, toy: Toy):
        self.refused(toy)
        dead = toy.record.dead
        assert dead is not None
        assert (dead.event, dead.cause, dead.at) == ("e-one", "the name is taken", START)
        assert [cause for _, cause in toy.said()] == ["1 heard"]

    def test_the_dead_are_not_swept(self, toy: Toy):
        self.refused(toy)
        assert toy.store.owing(before=START + timedelta(days=1)) == []

    def test_redriven_and_done_it_lives_again(self, toy: Toy):
        self.refused(toy)
        toy.clock.move(DELAY)
        toy.hear(heard("one"))
        assert toy.made == {"one": 1}
        assert (toy.record.outbox, toy.record.dead) == ((), None)

    def test_another_event_brings_it_back_and_is_not_held_up(self, toy: Toy):
        self.refused(toy, times=1000)
        toy.trouble["make"] = lambda: None
        toy.effects = {**toy.effects, "make": self.only("two", toy)}
        toy.hear(heard("two"))
        assert toy.made == {"two": 1}
        dead = toy.record.dead
        assert dead is not None
        assert (dead.event, dead.cause) == ("e-one", "one is taken")

    def test_the_event_that_asked_for_it_hears_of_it_again(self, toy: Toy):
        self.refused(toy)
        toy.effects = {**toy.effects, "make": self.only("two", toy)}
        toy.hear(heard("two"))
        with pytest.raises(Reject, match="one is taken"):
            toy.hear(heard("one"))
        with pytest.raises(Reject, match="one is taken"):
            toy.sweep()

    def only(self, name: str, toy: Toy) -> Effect:
        def make(do: Do, record: Record) -> Sequence[Speech]:
            if do.arguments["name"] != name:
                raise Reject(f"{do.arguments['name']} is taken")
            return toy._make(do, record)

        return make

    def test_given_up_it_tells_why_and_what_it_owes_stays(self, toy: Toy):
        toy.trouble["make"] = failing(Retry("no room"))
        with pytest.raises(Retry):
            toy.hear(heard("one"))
        record = toy.run(give_up(TOY, heard("one"), "Retry: no room"))
        assert record == toy.record
        assert record.dead is not None
        assert (record.dead.event, record.dead.cause) == ("e-one", "Retry: no room")
        assert len(record.outbox) == 2

    def test_there_is_nothing_to_write_it_into_where_there_is_no_record(self, toy: Toy):
        assert toy.run(give_up(TOY, heard(), "why")) is None
        assert toy.run(give_up(TOY, heard("nobody's"), "why")) is None
        assert toy.store.commits == 0

    def test_given_up_beside_another_writer(self, toy: Toy):
        toy.hear(heard("one"))
        other = Toy()
        other.store, other.bus = toy.store, toy.bus
        rivals = iter([heard("two")])
        toy.trouble["commit"] = lambda: [other.hear(event) for event in rivals]
        toy.run(give_up(TOY, heard("three"), "why"))
        assert toy.record.data["heard"] == ["one", "two"]
        assert toy.record.dead is not None
        assert toy.record.dead.event == "e-three"

    def test_what_is_given_up_later_hides_nothing(self, toy: Toy):
        toy.hear(heard("zero"))
        for name in ("one", "two"):
            toy.run(give_up(TOY, heard(name), f"no room for {name}"))
        assert [(death.event, death.cause) for death in toy.record.deaths] == [
            ("e-one", "no room for one"),
            ("e-two", "no room for two"),
        ]
        assert [toy.record.died_before(event) for event in ("e-one", "e-two", "e-new")] == [False, True, True]

    def test_it_lives_once_all_of_them_are_heard(self, toy: Toy):
        toy.hear(heard("zero"))
        for name in ("one", "two"):
            toy.run(give_up(TOY, heard(name), "no room"))
        toy.hear(heard("three"))
        toy.hear(heard("one"))
        assert toy.record.unheard == ("e-two",)
        toy.hear(heard("two"))
        assert toy.record.dead is None

    def test_given_up_twice_it_is_told_once(self, toy: Toy):
        toy.hear(heard("zero"))
        toy.run(give_up(TOY, heard("one"), "first"))
        assert toy.run(give_up(TOY, heard("one"), "second")) is None
        assert [death.cause for death in toy.record.deaths] == ["first"]

    def test_what_is_done_but_for_its_delayed_effect_is_not_given_up(self, toy: Toy):
        """Who comes second, hung for long, and gives up what the first has done."""
        toy.hear(heard("one"))
        assert toy.run(give_up(TOY, heard("one"), "no room")) is None
        assert toy.record.dead is None
        toy.clock.move(DELAY)
        toy.sweep()
        assert toy.cleaned == {"one": 1}
