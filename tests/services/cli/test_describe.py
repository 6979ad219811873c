"""One line a person understands, for each event."""

from __future__ import annotations

import msgspec
import pytest

from events.catalog import definitions
from events.envelope import Event, from_structured_json
from events.generate import EXAMPLES
from services.cli import describe as module
from services.cli.describe import describe
from tests.memory import START

NAMES = tuple(definitions())


def example(name: str, /, **data: object) -> Event:
    event = from_structured_json((EXAMPLES / f"{name}.json").read_bytes())
    return msgspec.structs.replace(event, data={**event.data, **data})


def test_every_event_has_its_teller():
    assert set(module._TELLERS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_one_line(name: str):
    line = describe(example(name))
    assert line
    assert "\n" not in line
    assert "{" not in line


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (example("model-deployed"), "team-x.llm-qa.v1@1.0.0 answers"),
        (example("model-deployed", replaced="0.9.0"), "team-x.llm-qa.v1@1.0.0 answers, in place of 0.9.0"),
        (example("model-validated"), "passed, 2 of 2 gates held"),
        (example("model-validated", passed=False, gates=[{"passed": False}]), "FAILED, 0 of 1 gates held"),
        (example("training-finished"), "succeeded"),
        (example("training-finished", outcome="failed", cause="no room\nat all"), "failed: no room"),
        (example("training-progressed"), "step 24/48, loss 0.8123"),
        (example("training-progressed", loss=None), "step 24/48"),
        (example("training-progressed", total_steps=0, phase="loading"), "loading"),
        (example("card-rendered", completeness=1.0, missing=[]), "100% complete"),
        (example("card-rendered", completeness=0.9, missing=["a", "b"]), "90% complete, 2 field(s) missing"),
        (example("evaluation-finished", metrics={}, cause="no row", role="base"), "base model: no row"),
        (example("rollback-requested", version=""), "team-x.llm-qa.v1 to the one before by ben"),
        (
            example("workload-changed", phase="failed", reason="OutOfMemory", kind="job", name="j"),
            "job j is failed (OutOfMemory)",
        ),
    ],
)
def test_what_it_says(event: Event, told: str):
    assert describe(event) == told


def test_of_an_event_it_does_not_know_it_tells_the_subject():
    event = Event(id="e", name="tea-served", source="/x", subject="cups/1", time=START, data={})
    assert describe(event) == "cups/1"
