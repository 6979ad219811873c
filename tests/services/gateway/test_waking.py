"""A model whose engine sleeps: requests wait for one start, or read how far it is; none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from events.catalog import decode
from events.envelope import Event
from services.gateway.call import Call
from services.gateway.directory import StoreDirectory
from services.gateway.errors import StartingError
from services.gateway.options import Options
from services.gateway.ports import Placement, Route, Target, Token
from services.gateway.traffic import Traffic
from services.gateway.voice import Voice
from shared.local.clock import SystemClock
from tests.services.gateway.world import MODEL, Answer, DictStore, World, until

SINCE = "2026-01-01T00:00:00+00:00"


def asleep(world: World, state: str = "asleep", patience: float = 20, **more: Any) -> None:
    place = world.place("1.0.0", state, "", since=SINCE, plan={"cold_start_seconds": patience}, **more)
    world.release("1.0.0", v1_0_0=place)


def wanted(world: World) -> list[Any]:
    return [decode(event) for event in world.said if event.name == "model-wanted"]


@pytest.fixture
def crowd() -> Iterator[Callable[[World, int], list[Any]]]:
    with ThreadPoolExecutor(20) as pool:

        def ask(world: World, count: int) -> list[Any]:
            token = world.token()
            until(lambda: world.app._front._directory.snapshot().tokens)
            return [pool.submit(world.chat, token) for _ in range(count)]

        yield ask


def test_many_requests_wait_for_one_start(world: World, crowd: Callable[[World, int], list[Any]]):
    asleep(world)
    answers = crowd(world, 20)
    until(lambda: world.app._front._waking.waiting.total() == 20)
    until(lambda: wanted(world))
    asleep(world, "starting")
    until(lambda: world.directory.snapshot().routes[MODEL].versions["1.0.0"].state == "starting")
    world.serve()
    assert {answer.result().status for answer in answers} == {200}
    assert {(word.version, word.release) for word in wanted(world)} == {("1.0.0", "serve-1.0.0")}
    assert len(wanted(world)) <= 2  # one a window of ten seconds, and this may have crossed a border
    assert world.app._front._waking.waiting.total() == 0


def test_who_cannot_wait_reads_how_far_it_is(world: World):
    asleep(world, "starting", patience=0, took=40.0)
    answer = world.chat(world.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    body = answer.json()
    assert body["error"]["code"] == "model_starting"
    assert body["progress"]["model"] == f"{MODEL}@1.0.0"
    assert body["progress"]["state"] == "starting"
    assert body["progress"]["seconds"] > 0
    assert body["progress"]["expected_seconds"] == 40.0


def test_of_one_that_sleeps_it_is_said_when_to_come_again(world: World):
    asleep(world, patience=0, took=40.0)
    answer = world.chat(world.token())
    assert (answer.status, answer.headers["retry-after"]) == (503, "40")
    assert len(wanted(world)) == 1


def test_a_wait_has_its_end(world: World):
    asleep(world, patience=0.3)
    answer = world.chat(world.token())
    assert (answer.status, answer.json()["error"]["code"]) == (503, "model_starting")


def test_what_the_bus_does_not_take_is_said_again(world: World, crowd: Callable[[World, int], list[Any]]):
    world.deaf = True
    asleep(world)
    answers = crowd(world, 3)
    until(lambda: world.app._front._waking.waiting.total() == 3)
    assert not wanted(world)
    world.deaf = False
    until(lambda: wanted(world))
    world.serve()
    assert {answer.result().status for answer in answers} == {200}


def test_more_than_may_wait_are_told_to_come_again(tmp_path: Path):
    world = World(tmp_path, Options(waiting=1)).start()
    try:
        asleep(world)
        token = world.token()
        first: list[Answer] = []
        waiter = threading.Thread(target=lambda: first.append(world.chat(token)))
        waiter.start()
        until(lambda: world.app._front._waking.waiting.total() == 1)
        assert world.chat(token).status == 503
        world.serve()
        waiter.join()
        assert first[0].status == 200
    finally:
        world.close()


def test_one_tenants_crowd_leaves_room_for_another(tmp_path: Path):
    world = World(tmp_path, Options(waiting=2, waiting_each=1)).start()
    try:
        asleep(world)
        engine, other = world.engine("1.0.0"), "team-y.other.v1"
        sleeping = world.place("1.0.0", "asleep", "", since=SINCE, plan={"cold_start_seconds": 20})
        world.release("1.0.0", other, "team-y", v1_0_0=sleeping)
        mine, yours = world.token(), world.token("t2", tenant="team-y")
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(world.chat, mine)
            until(lambda: world.app._front._waking.waiting["team-x"] == 1)
            assert world.chat(mine).status == 503
            second = pool.submit(world.chat, yours, model=other)
            until(lambda: world.app._front._waking.waiting["team-y"] == 1)
            for model, tenant in ((MODEL, "team-x"), (other, "team-y")):
                world.release("1.0.0", model, tenant, v1_0_0=world.place("1.0.0", "live", engine.address))
            assert {first.result().status, second.result().status} == {200}
    finally:
        world.close()


def test_looking_again_does_not_begin_a_new_wait(world: World):
    asleep(world, patience=1000)
    world.directory.refresh()
    front, moment = world.app._front, world._loop.time()
    call = Call(request_id="r", method="POST", path="/", headers=(), model=MODEL)
    token = Token(id="t", hash="", tenant="team-x")
    with pytest.raises(StartingError):
        world.run(front._awake(call, token, moment - 1001))


def test_a_client_that_leaves_takes_its_word_for_the_others_not_along(tmp_path: Path):
    """Its word that the model is wanted may still wait for the thread that says it."""

    async def scenario() -> None:
        said: list[Event] = []
        store = DictStore()
        directory = StoreDirectory(store)
        voice = Voice(said.extend, directory, Traffic("g", lambda _: 0), SystemClock())
        placed = Placement(state="asleep", release="serve-1")
        target = Target(Route(model_id=MODEL, tenant="team-x", live="1", versions={"1": placed}), "1")
        busy = threading.Event()
        voice._thread.submit(busy.wait)
        first = asyncio.ensure_future(voice.want(target))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        busy.set()
        await voice.want(target)
        assert [event.name for event in said] == ["model-wanted"]
        voice.close()
        directory.close()

    asyncio.run(scenario())


def test_one_that_failed_while_they_waited_is_told(world: World, crowd: Callable[[World, int], list[Any]]):
    asleep(world, "starting")
    (answer,) = crowd(world, 1)
    until(lambda: world.app._front._waking.waiting.total() == 1)
    world.release("", v1_0_0=world.place("1.0.0", "failed", ""))
    assert answer.result().error["code"] == "model_not_ready"


def test_it_is_listed_and_may_be_asked_for_by_version(world: World):
    asleep(world, patience=0)
    token = world.token()
    models = world.ask("GET", "/v1/models", token=token).json()["data"]
    assert [model["id"] for model in models] == [MODEL]
    answer = world.chat(token, model=f"{MODEL}@1.0.0")
    assert answer.json()["error"]["code"] == "model_starting"


def test_that_it_is_used_is_said_at_once_and_once_a_window(world: World):
    engine = world.engine("1.0.0")
    live = world.place("1.0.0", "live", engine.address)
    world.release("1.0.0", v1_0_0=live, split={"mark": "", "window": 1000.0})
    token = world.token()
    for _ in range(3):
        assert world.chat(token).status == 200
        until(lambda: world.said)
    world.run(world.app._background.voice.report_now())
    (said,) = [decode(event) for event in world.said if event.name == "traffic-measured"]
    assert said.mark == ""
    assert said.in_flight or said.versions["1.0.0"].requests
    assert (said.until - said.since).total_seconds() == 1000


def test_what_a_neighbour_on_the_same_engine_does_is_no_use_of_it(world: World):
    engine, other = world.engine("1.0.0"), "team-x.other.v1"
    live = world.place("1.0.0", "live", engine.address)
    world.release("1.0.0", v1_0_0=live, split={"mark": "", "window": 1000.0})
    world.release("1.0.0", other, v1_0_0=live, split={"mark": "", "window": 1000.0})
    token = world.token()
    waiter = threading.Thread(target=lambda: world.chat(token, "slow", model=other))
    waiter.start()
    until(lambda: world.app.active(engine.address) == 1)
    until(lambda: world.said)
    world.run(world.app._background.voice.report_now())
    assert [decode(event).model_id for event in world.said] == [other]
    world.call(engine.gate.set)
    waiter.join()


def test_a_long_answer_is_use_as_well(world: World):
    engine = world.engine("1.0.0")
    live = world.place("1.0.0", "live", engine.address)
    world.release("1.0.0", v1_0_0=live, split={"mark": "", "window": 1000.0})
    token = world.token()
    waiter = threading.Thread(target=lambda: world.chat(token, "slow"))
    waiter.start()
    until(lambda: world.app.active(engine.address) == 1)
    until(lambda: world.said)
    (said,) = [decode(event) for event in world.said]
    assert said.in_flight == 1
    world.call(engine.gate.set)
    waiter.join()
