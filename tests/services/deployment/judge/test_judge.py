"""The judging pod, with engines that really answer over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.deployment.judge.asking import KEYS, Asker, key
from services.deployment.judge.document import Document, Engine
from services.deployment.judge.main import perform
from shared.engine_key import engine_key
from shared.errors import Reject
from shared.evaluation.metrics import Row
from shared.podkit.patience import Patience
from tests.services.deployment.judge.conftest import FakeEngine
from tests.shared.podkit.world import PodWorld

MODEL, V1, V2 = "team-x.qa.v1", "1.0.0", "1.1.0"
ROWS = [
    {"instruction": f"What is E{number}?", "expect": f"valve {number}", "output": f"It is valve {number}."}
    for number in range(6)
] + [{"instruction": "Capital of France?", "expect": "Paris", "group": "general"}]
KNOWS = {row["instruction"]: row.get("output", "Paris") for row in ROWS}
HALF = {question: KNOWS[question] for question in list(KNOWS)[:3]}
START = Callable[..., FakeEngine]
HASTY = Patience(tries=3, first=0, longest=0)


def told(world: PodWorld, *engines: FakeEngine, **more: Any) -> Document:
    source = world.commit({"eval.json": json.dumps(more.pop("rows", ROWS))})
    asked = [
        {"version": version, "address": each.address, "model": f"qa@{version}", "keeper": f"serve-{version}"}
        for version, each in zip((V1, V2), engines, strict=True)
    ]
    said = {
        "model_id": MODEL,
        "mark": "1.0",
        "step": 0,
        "metric": "contains",
        "samples": 20,
        "version": V2,
        "engines": asked,
        "source": msgspec.to_builtins(source),
        "evaluation": {"set": "eval.json", "max_new_tokens": 16},
        "cause": "cause-1",
        "traceparent": "00-trace",
        **more,
    }
    return msgspec.convert(said, Document)


@pytest.fixture
def engines(world: PodWorld, engine: START) -> tuple[FakeEngine, FakeEngine]:
    """The live version's, which knows all, and the canary's, which knows half of it."""
    live, canary = (engine(engine_key(world.home, f"serve-{version}"), {}) for version in (V1, V2))
    live.table, canary.table = KNOWS, HALF
    return live, canary


def test_both_are_asked_the_same_and_measured_as_in_validation(
    world: PodWorld, engines: tuple[FakeEngine, FakeEngine]
):
    live, canary = engines
    assert perform(told(world, *engines), world.ports) == 0
    words = {event.data["version"]: event for event in world.said("answers-judged")}
    assert {version: word.data["mean"] for version, word in words.items()} == {V1: 1.0, V2: 0.5}
    assert words[V2].data | {"mean": 0} == {
        "model_id": MODEL, "version": V2, "metric": "contains", "samples": 6, "mean": 0, "judge": "kuznia",
        "mark": "1.0",
    }  # fmt: skip
    assert (words[V2].subject, words[V2].source, words[V2].cause) == (
        f"releases/{MODEL}",
        "/kuznia/deployment",
        "cause-1",
    )
    assert [body["messages"] for body in live.asked] == [body["messages"] for body in canary.asked]
    first = canary.asked[0]
    assert (first["model"], first["max_tokens"], first["temperature"]) == ("qa@1.1.0", 16, 0.0)


def test_what_was_answered_is_kept_for_a_person(world: PodWorld, engines: tuple[FakeEngine, FakeEngine]):
    perform(told(world, *engines), world.ports)
    kept = json.loads(world.artifacts.read(f"tenants/team-x/evaluations/{MODEL}@{V2}/canary-1.0.json"))
    assert (kept["metric"], len(kept["rows"])) == ("contains", 6)
    assert [answers["version"] for answers in kept["answers"]] == [V1, V2]
    assert "I do not know." in kept["answers"][1]["predictions"]


def test_started_again_it_says_the_same_and_asks_nobody(
    world: PodWorld, engines: tuple[FakeEngine, FakeEngine]
):
    document = told(world, *engines)
    perform(document, world.ports)
    before, asked = [event.id for event in world.said("answers-judged")], len(engines[1].asked)
    engines[1].table = KNOWS
    assert perform(document, world.ports) == 0
    again = world.said("answers-judged")
    assert [event.id for event in again] == before * 2
    assert [event.data["mean"] for event in again] == [1.0, 0.5] * 2
    assert len(engines[1].asked) == asked


def test_a_busy_engine_is_asked_again(world: PodWorld, engines: tuple[FakeEngine, FakeEngine]):
    engines[0].faults = [503, 429]
    assert perform(told(world, *engines), world.ports, HASTY) == 0
    assert len(world.said("answers-judged")) == 2


@pytest.mark.parametrize(
    ("faults", "why"),
    [([503] * 9, 'answers 503: {"detail": "busy"}'), ([400], "refuses a question with 400")],
)
def test_where_one_does_not_answer_nothing_is_said(
    world: PodWorld,
    engines: tuple[FakeEngine, FakeEngine],
    capsys: pytest.CaptureFixture[str],
    faults: list[int],
    why: str,
):
    engines[1].faults = faults
    assert perform(told(world, *engines), world.ports, HASTY) == 1
    assert world.said("answers-judged") == []
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("not judged: the engine of 1.1.0 at 127.0.0.1:")
    assert why in last


def test_a_set_without_rows_for_the_metric_is_told(
    world: PodWorld, engines: tuple[FakeEngine, FakeEngine], capsys: pytest.CaptureFixture[str]
):
    rows = [{"instruction": "a", "output": "b"}]
    assert perform(told(world, *engines, rows=rows), world.ports) == 1
    assert "not judged: the evaluation set has no row with `expect`" in capsys.readouterr().out
    assert engines[0].asked == []


class TestAsker:
    def test_a_system_message_goes_first(self, engine: START):
        server = engine("k", {"hello": "hi"})
        Asker(_engine(server), "k", 8).ask(Row(instruction="hello", output="x", system="Be brief."))
        assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}

    def test_the_wrong_key_is_told(self, engine: START):
        with pytest.raises(Reject, match="refuses a question with 401"):
            Asker(_engine(engine("k", {})), "other", 8).ask(Row(instruction="a", output="b"))


class TestKey:
    def test_is_derived_or_given_as_a_file(self, world: PodWorld):
        engine = Engine(version=V1, address="127.0.0.1:1", model="qa", keeper="serve-1")
        assert key(engine, world.settings, {}) == engine_key(world.home, "serve-1")
        (world.root / "serve-1").write_text("given\n", encoding="utf-8")
        assert key(engine, world.settings, {KEYS: str(world.root)}) == "given"


def _engine(server: FakeEngine) -> Engine:
    return Engine(version=V1, address=server.address, model="qa", keeper="serve-1")
