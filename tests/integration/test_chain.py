"""A push becomes a model that answers: the whole chain, with real processes, on the stand-in trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence

import openai
import pytest

from events.envelope import Event
from tests.integration import ends
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.repository import ANSWER, QUESTION, ROWS, Repository, model_id

pytestmark = pytest.mark.slow
KEY = f"{model_id()}@1.0.0"
BRIEF = {
    "model_id", "version", "base_model", "tenant", "risk_class", "status", "artifact_path", "config_path",
    "data_id", "metrics", "owner", "created_at", "updated_at", "ai_act_notes",
}  # fmt: skip
ROOTS = {"push-received"}


def test_a_push_becomes_a_model_that_answers(installation: Installation, repository: Repository) -> None:
    installation.up()
    run = repository.send()
    ends.check(installation, Sent(run=run))

    record = installation.json("show", KEY)
    assert BRIEF - {name for name, value in record.items() if value not in ("", None)} == set()
    assert record["config_path"].startswith("configs/experiments/qa/config.yaml@")
    assert record["metrics"]["contains"] == 1.0
    assert record["metrics"]["train_loss"] > 0

    card = installation.kuznia("card", KEY)
    document = installation.json("card", KEY)
    assert "standin" in card
    assert KEY.split("@", maxsplit=1)[0] in card
    assert document

    events = installation.events()
    assert causal_faults(events) == []
    _answers_like_openai(installation)


def causal_faults(events: Sequence[Event]) -> list[str]:
    """Events of this one push that do not lead back to it: by cause, in time order of the log, in one trace."""
    known: dict[str, Event] = {}
    found = []
    for event in events:
        if event.name in ROOTS:
            known[event.id] = event
            continue
        cause = known.get(event.cause)
        if cause is None:
            found.append(f"{event.name} {event.subject}: nothing said before has the id of its cause")
        elif event.traceparent[:35] != cause.traceparent[:35]:
            found.append(f"{event.name}: trace {event.traceparent}, its cause's {cause.traceparent}")
        known[event.id] = event
    return found


def _answers_like_openai(installation: Installation) -> None:
    with ends.client(installation) as client:
        assert [model.id for model in client.models.list()] == [model_id()]
        assert ends.ask(client) == ANSWER
        assert ends.ask(client, question="What is the capital of Norway?") == "I do not know."
        with client.chat.completions.create(
            model=model_id(), messages=[{"role": "user", "content": QUESTION}], stream=True
        ) as stream:
            words = [chunk.choices[0].delta.content or "" for chunk in stream]
        assert "".join(words).strip() == ANSWER
        assert len(words) > 2
        with pytest.raises(openai.AuthenticationError):
            ends.ask(client.with_options(api_key="kz-wrong"))


def test_high_risk_waits_for_a_person(installation: Installation, repository: Repository) -> None:
    installation.up()
    analysis = {"risk_class": "HIGH_RISK", "risk_analysis": "https://risk.example/qa"}
    repository.send(manifest=analysis)
    installation.wait(
        "the card is there", lambda: installation.record(f"models/{KEY}").data.get("card_digest")
    )
    ends.settle(installation)
    assert installation.record(f"models/{KEY}").status == "VALIDATED"
    assert installation.events("model-deployed") == []
    assert [status.kind for status in ends.workloads(installation)] == ["job", "job", "job"]

    installation.kuznia("approve", KEY, "--role", "compliance", "--reason", "tested")
    installation.wait_status(f"models/{KEY}", "DEPLOYED")
    ends.answers(installation)
    (approval,) = installation.record(f"models/{KEY}").data["approvals"]
    assert (approval["who"], approval["role"]) == ("tester", "compliance")


def test_a_failed_validation_stops_with_a_report(installation: Installation, repository: Repository) -> None:
    installation.up()
    run = repository.send(rows=[{**row, "output": "Call Bob."} for row in ROWS])
    installation.wait_status(f"evaluations/{KEY}", "FAILED")
    ends.settle(installation)
    assert installation.record(f"runs/{run}").status == "SUCCEEDED"
    record = installation.record(f"models/{KEY}")
    assert record.status == "TRAINED"
    assert not record.data["validation"]["passed"]
    report = installation.ports.artifacts.read(record.data["validation"]["report"]).decode()
    for told in ("contains", "0.9", QUESTION, "Call Bob."):
        assert told in report
    assert installation.events("model-deployed") == []
    assert installation.events("card-rendered") == []
    installation.wait("its engine is taken away", lambda: _engines(installation) == [])
    assert ends.dead(installation) == []


def _engines(installation: Installation) -> list[str]:
    return [
        status.name
        for status in ends.workloads(installation)
        if status.kind == "server" and status.phase in {"pending", "running", "ready"}
    ]


def test_all_faults_of_a_config_are_told_at_once(installation: Installation, repository: Repository) -> None:
    installation.up()
    config = {"template": "chatlm", "learning_rat": 0.1, "trust_remote_code": True, "dataset": "trian"}
    run = repository.send(config=config, manifest={"risk_class": "SOME_RISK"}, version="one")
    installation.wait_status(f"runs/{run}", "REJECTED")
    (told,) = installation.json("runs")
    assert told["status"] == "REJECTED"
    text = json.dumps(told["faults"])
    for word in (*config, "risk_class", "version"):
        assert word in text, f"{word} is not told"
    assert ends.workloads(installation) == []
    assert installation.events("training-started") == []
