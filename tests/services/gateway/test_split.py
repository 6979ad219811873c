"""A canary's share of the requests: how large it is, who has it, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.catalog import decode
from events.traffic_measured import BOUNDS, TrafficMeasured
from services.gateway.ports import Placement, Route
from services.gateway.request import conversation
from services.gateway.split import chosen, place
from tests.services.gateway.engine import Engine
from tests.services.gateway.world import MODEL, World, until

KEYS = [f"conversation-{number}" for number in range(4000)]


def route(share: float, mark: str = "1.0", canary: str = "canary") -> Route:
    versions = {
        "1.0.0": Placement(state="live", address="127.0.0.1:1", cleared=True),
        "1.1.0": Placement(state=canary, address="127.0.0.1:2", cleared=True),
    }
    weights = {"1.0.0": 1 - share, "1.1.0": share}
    return Route(model_id=MODEL, tenant="team-x", live="1.0.0", versions=versions, weights=weights, mark=mark)


def canaries(split: Route) -> set[str]:
    return {key for key in KEYS if chosen(split, key) == "1.1.0"}


class TestShare:
    @pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.9])
    def test_it_is_as_large_as_its_weight(self, share: float):
        """4000 conversations: the standard deviation is at most 0.8 %; the hash always gives the same ones."""
        assert abs(len(canaries(route(share))) / len(KEYS) - share) < 0.025

    @given(st.text(min_size=1), st.floats(0.01, 0.99))
    @settings(max_examples=50)
    def test_a_conversation_stays_where_it_is(self, key: str, share: float):
        first = chosen(route(share), key)
        assert chosen(route(share, mark="1.3"), key) == first
        if first == "1.1.0":
            assert chosen(route(min(0.99, share + 0.1)), key) == first

    def test_as_it_grows_nobody_leaves_it(self):
        small, middle, large = (canaries(route(share)) for share in (0.05, 0.25, 0.5))
        assert small < middle < large

    def test_the_next_canary_has_others(self):
        first, second = canaries(route(0.1)), canaries(route(0.1, mark="2.0"))
        assert len(first & second) < len(first) / 2

    def test_places_are_spread_evenly(self):
        places = sorted(place(route(0.5), key) for key in KEYS)
        assert max(abs(at - number / len(KEYS)) for number, at in enumerate(places)) < 0.03

    @pytest.mark.parametrize("canary", ["starting", "failed", "retired"])
    def test_a_canary_that_does_not_answer_has_none(self, canary: str):
        assert canaries(route(0.5, canary=canary)) == set()

    def test_without_weights_or_key_it_is_the_live_one(self):
        assert chosen(route(0.99), "") == "1.0.0"
        plain = Route(model_id=MODEL, tenant="team-x", live="1.0.0", versions=route(0.5).versions)
        assert {chosen(plain, key) for key in KEYS[:50]} == {"1.0.0"}

    def test_what_a_conversation_is_known_by(self):
        headers = [(b"x-conversation-id", b"c-1")]
        assert conversation(headers, "ann", "req-1") == "c-1"
        assert conversation([], "ann", "req-1") == "ann"
        assert conversation([], {"no": "text"}, "req-1") == "req-1"
        assert conversation([], "", "req-1") == "req-1"


@pytest.fixture
def engines(world: World) -> tuple[Engine, Engine]:
    old, new = world.engine("1.0.0"), world.engine("1.1.0")
    shared(world, old, new)
    return old, new


def shared(world: World, old: Engine, new: Engine, **more: Any) -> None:
    split = {"mark": "1.0", "window": 0.1} | more
    world.release(
        "1.0.0",
        v1_0_0=world.place("1.0.0", "live", old.address),
        v1_1_0=world.place("1.1.0", "canary", new.address),
        weights={"1.0.0": 0.5, "1.1.0": 0.5},
        split=split,
    )


def measured(world: World) -> list[TrafficMeasured]:
    return [decode(event) for event in world.said if event.name == "traffic-measured"]


def summed(world: World, version: str, what: str) -> int:
    found = [getattr(said.versions[version], what) for said in measured(world) if version in said.versions]
    return sum(one if isinstance(one, int) else sum(one) for one in found)


def named(conversation: str) -> dict[str, str]:
    return {"x-conversation-id": conversation}


class TestGateway:
    def test_both_answer_and_a_conversation_stays(self, world: World, engines: tuple[Engine, Engine]):
        token = world.token()
        seen = {
            key: {world.chat(token, headers=named(key)).headers["x-kuznia-model"] for _ in range(2)}
            for key in KEYS[:20]
        }
        assert all(len(versions) == 1 for versions in seen.values())
        assert set().union(*seen.values()) == {f"{MODEL}@1.0.0", f"{MODEL}@1.1.0"}

    def test_figures_of_each_version_are_said_once_a_window(
        self, world: World, engines: tuple[Engine, Engine]
    ):
        token = world.token()
        answers = [world.chat(token, headers=named(key)) for key in KEYS[:30]]
        new = sum(answer.headers["x-kuznia-model"].endswith("@1.1.0") for answer in answers)
        until(lambda: summed(world, "1.0.0", "requests") + summed(world, "1.1.0", "requests") == 30)
        assert summed(world, "1.1.0", "requests") == summed(world, "1.1.0", "latency") == new
        assert summed(world, "1.1.0", "ttft") == new
        assert summed(world, "1.1.0", "errors") == 0
        said = measured(world)
        assert {one.mark for one in said} == {"1.0"}
        assert len({(one.gateway, one.since) for one in said}) == len(said)
        assert all(
            len(one.versions["1.1.0"].ttft) == len(BOUNDS) + 1 for one in said if "1.1.0" in one.versions
        )

    def test_an_engine_s_fault_is_an_error_and_a_client_s_is_none(
        self, world: World, engines: tuple[Engine, Engine]
    ):
        token = world.token()
        key = next(key for key in KEYS if chosen(route(0.5), key) == "1.1.0")
        for prompt in ("500", "drop", "400", "hello"):
            world.chat(token, prompt, headers=named(key))
        until(lambda: summed(world, "1.1.0", "requests") == 4)
        assert summed(world, "1.1.0", "errors") == 2
        assert summed(world, "1.1.0", "latency") == 1
        text = world.ask("GET", "/metrics").content.decode()
        assert 'version_requests_total{role="canary",outcome="failed"} 2' in text
        assert 'version_answer_seconds_count{role="canary"} 1' in text

    def test_a_version_asked_for_by_name_is_no_sample(self, world: World, engines: tuple[Engine, Engine]):
        token = world.token()
        assert world.chat(token, model=f"{MODEL}@1.1.0").headers["x-kuznia-model"] == f"{MODEL}@1.1.0"
        key = next(key for key in KEYS if chosen(route(0.5), key) == "1.0.0")
        world.chat(token, headers=named(key))
        until(lambda: summed(world, "1.0.0", "requests") == 1)
        assert summed(world, "1.1.0", "requests") == 0

    def test_a_canary_that_cannot_be_reached_costs_no_request(
        self, world: World, engines: tuple[Engine, Engine]
    ):
        token = world.token()
        key = next(key for key in KEYS if chosen(route(0.5), key) == "1.1.0")
        world.run(engines[1].stop())
        world.engines.remove(engines[1])
        answer = world.chat(token, headers=named(key))
        assert (answer.status, answer.headers["x-kuznia-model"]) == (200, f"{MODEL}@1.0.0")
        until(lambda: summed(world, "1.1.0", "errors") == 1)

    def test_what_the_bus_does_not_take_is_said_later(self, world: World, engines: tuple[Engine, Engine]):
        world.deaf = True
        world.chat(world.token())
        until(lambda: world.app._background.voice._pending)
        world.deaf = False
        until(lambda: measured(world))

    def test_without_a_canary_nothing_is_said(self, world: World):
        world.serve()
        token = world.token()
        world.chat(token)
        world.run(world.app._background.voice.report_now())
        assert world.said == []
