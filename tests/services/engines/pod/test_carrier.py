"""What an engine carries follows its orders, whatever fails between."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from events.parts import Artifact
from services.engines.pod import carrier as carriers
from services.engines.pod.carrier import Carrier, Start
from services.engines.pod.document import Adapter
from shared.errors import Reject, Retry
from shared.podkit.ports import PodPorts
from shared.settings import Settings
from tests.memory import ManualClock, MemoryStore

START = Start(server="engine-1", attempt=1, address="127.0.0.1:41000")
MODEL_ID = "team-x.qa.v1"


def adapter(version: str, start: int = 1) -> Adapter:
    artifact = Artifact(
        uri=f"runs/{version}", manifest_digest="sha256:0", kind="adapter", base_model="org/base"
    )
    return Adapter(
        release=f"serve-{version}-{start}",
        model_id=MODEL_ID,
        version=version,
        engine_model=f"{MODEL_ID}@{version}",
        artifact=artifact,
        cause=f"wanted-{version}-{start}",
    )


class World:
    """An engine that keeps what it is told, and ears."""

    def __init__(self) -> None:
        self.loaded: dict[str, Path] = {}
        self.events: list[Any] = []
        self.forgotten: list[str] = []
        self.opened: list[set[str]] = []
        self.away: set[str] = set()
        self.loads = 0
        self.deaf = self.refuses = False
        settings = Settings(home=Path("/h"), cache=Path("/c"))
        nothing: Any = None
        clock: Any = ManualClock()
        store: Any = MemoryStore()
        self.ports = PodPorts(
            artifacts=nothing, publish=self.publish, settings=settings, clock=clock, store=store
        )
        self.carrier = self.start()

    def start(self, attempt: int = 1) -> Carrier:
        begun = Start(server="engine-1", attempt=attempt, address="127.0.0.1:41000")
        return Carrier(begun, self, self.ports, self)

    def placed(self, one: Adapter) -> Path:
        if one.version in self.away:
            raise Retry("the store is away")
        return Path(one.artifact.uri)

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def open(self) -> None:
        self.opened.append(set(self.loaded))

    def load(self, name: str, folder: Path) -> None:
        self.loads += 1
        if self.refuses:
            raise Reject("LoRA rank 64 is greater than max_lora_rank 16")
        self.loaded[name] = folder

    def unload(self, name: str) -> None:
        if name in self.away:
            raise Retry("it does not answer")
        if self.refuses:
            raise Reject("it will not")
        self.loaded.pop(name, None)

    def publish(self, events: Any) -> None:
        if self.deaf:
            raise Retry("the bus is away")
        self.events.extend(events)

    def want(self, *adapters: Adapter) -> None:
        self.carrier.follow({one.release: one for one in adapters})

    def phases(self) -> list[tuple[str, str]]:
        return [(event.data["name"], event.data["phase"]) for event in self.events]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carriers, "DRAIN_SECONDS", 0.0)
    monkeypatch.setattr(carriers, "FILES_SECONDS", 0.0)


def test_it_loads_what_is_wanted_and_says_so_once(world: World) -> None:
    for _ in range(3):
        world.want(adapter("1.0.0"), adapter("1.1.0"))
    assert world.loaded == {f"{MODEL_ID}@1.0.0": Path("runs/1.0.0"), f"{MODEL_ID}@1.1.0": Path("runs/1.1.0")}
    assert world.phases() == [("serve-1.0.0-1", "ready"), ("serve-1.1.0-1", "ready")]
    assert world.loads == 2
    word = world.events[0]
    assert (word.subject, word.source, word.cause) == (
        f"releases/{MODEL_ID}", "/kuznia/engines", "wanted-1.0.0-1",
    )  # fmt: skip
    assert (word.data["service"], word.data["key"], word.data["address"]) == (
        "deployment", f"releases/{MODEL_ID}", "127.0.0.1:41000",
    )  # fmt: skip


def test_questions_are_taken_once_all_that_was_wanted_at_the_start_is_loaded(world: World) -> None:
    world.want(adapter("1.0.0"), adapter("1.1.0"))
    world.want(adapter("1.0.0"), adapter("1.1.0"), adapter("1.2.0"))
    assert world.opened == [{f"{MODEL_ID}@1.0.0", f"{MODEL_ID}@1.1.0"}]


def test_what_it_said_before_a_restart_is_said_again_under_other_ids(world: World) -> None:
    world.want(adapter("1.0.0"))
    world.carrier = world.start(attempt=2)
    world.want(adapter("1.0.0"))
    first, second = world.events
    assert first.id != second.id
    assert [event.data["attempt"] for event in world.events] == [1, 2]


def test_said_twice_in_one_start_it_is_the_same_event(world: World) -> None:
    world.want(adapter("1.0.0"))
    world.carrier = world.start()
    world.want(adapter("1.0.0"))
    assert len({event.id for event in world.events}) == 1


def test_what_could_not_be_said_is_said_later(world: World) -> None:
    world.deaf = True
    with pytest.raises(Retry):
        world.want(adapter("1.0.0"))
    world.deaf = False
    world.want(adapter("1.0.0"))
    assert world.phases() == [("serve-1.0.0-1", "ready")]


def test_what_the_engine_will_not_take_has_failed_and_is_not_tried_again(world: World) -> None:
    world.refuses = True
    for _ in range(2):
        world.want(adapter("1.0.0"))
    assert world.loads == 1
    (event,) = world.events
    assert (event.data["phase"], event.data["reason"]) == ("failed", "Refused")
    assert "max_lora_rank 16" in event.data["message"]
    assert event.data["address"] == ""


def test_one_whose_weights_cannot_be_had_holds_up_no_other_and_fails_in_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.away = {"1.0.0"}
    with pytest.raises(Retry, match=r"team-x\.qa\.v1@1\.0\.0 waits: the store is away"):
        world.want(adapter("1.0.0"), adapter("1.1.0"))
    assert world.phases() == [("serve-1.1.0-1", "ready")]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 601)
    world.want(adapter("1.0.0"), adapter("1.1.0"))
    assert world.phases()[-1] == ("serve-1.0.0-1", "failed")
    assert (world.events[-1].data["reason"], world.events[-1].data["message"]) == (
        "NotReady", "the store is away",
    )  # fmt: skip


def test_what_is_wanted_no_more_stays_while_its_answers_may_be_under_way(world: World) -> None:
    world.want(adapter("1.0.0"))
    world.want()
    assert set(world.loaded) == {f"{MODEL_ID}@1.0.0"}
    assert not world.carrier.settled


@pytest.mark.usefixtures("hurried")
def test_then_it_is_unloaded(world: World) -> None:
    world.want(adapter("1.0.0"), adapter("1.1.0"))
    world.want(adapter("1.1.0"))
    assert set(world.loaded) == {f"{MODEL_ID}@1.1.0"}
    assert world.forgotten == [f"{MODEL_ID}@1.0.0"]
    assert world.carrier.settled


@pytest.mark.usefixtures("hurried")
def test_a_version_that_comes_back_under_a_new_release_is_not_unloaded_with_the_old_one(world: World) -> None:
    world.want(adapter("1.0.0"))
    world.want(adapter("1.0.0", start=2))
    assert set(world.loaded) == {f"{MODEL_ID}@1.0.0"}
    assert world.phases()[-1] == ("serve-1.0.0-2", "ready")
    assert (world.loads, world.forgotten) == (1, [])
    assert world.carrier.settled


@pytest.mark.usefixtures("hurried")
def test_what_will_not_be_unloaded_is_left(world: World) -> None:
    world.want(adapter("1.0.0"))
    world.refuses = True
    world.want()
    assert world.carrier.settled
    assert set(world.loaded) == {f"{MODEL_ID}@1.0.0"}


@pytest.mark.usefixtures("hurried")
def test_what_was_loaded_and_never_told_of_goes_as_well(world: World) -> None:
    """Dropped while the bus was away: nobody was led to it, and nobody drops it a second time."""
    world.deaf = True
    with pytest.raises(Retry):
        world.want(adapter("1.0.0"))
    world.want()
    assert world.loaded == {}
    assert world.carrier.settled


@pytest.mark.usefixtures("hurried")
def test_an_engine_that_does_not_answer_is_told_again_to_unload(world: World) -> None:
    world.want(adapter("1.0.0"))
    world.away = {f"{MODEL_ID}@1.0.0"}
    world.want()
    assert not world.carrier.settled
    world.away = set()
    world.want()
    assert world.loaded == {}


def test_its_files_stay_for_the_answers_that_may_still_need_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "DRAIN_SECONDS", 0.0)
    world.want(adapter("1.0.0"))
    world.want()
    assert world.loaded == {}
    assert world.forgotten == []
    assert not world.carrier.settled, "it comes back for them"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 901)
    world.want()
    assert world.forgotten == [f"{MODEL_ID}@1.0.0"]
    assert world.carrier.settled


def test_the_files_of_one_that_came_back_are_not_taken_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriers, "DRAIN_SECONDS", 0.0)
    world.want(adapter("1.0.0"))
    world.want()
    world.want(adapter("1.0.0", start=2))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 901)
    world.want(adapter("1.0.0", start=2))
    assert world.forgotten == []
    assert set(world.loaded) == {f"{MODEL_ID}@1.0.0"}
