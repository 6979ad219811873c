# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia trace` and `kuznia events`: drawn, filtered, and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click
import msgspec
import pytest

from events.envelope import from_structured_json
from events.model_rejected import ModelRejected
from services.cli.moments import Moment, span
from services.cli.tenancy import Tenancy
from shared.ports.bus import Query
from tests.services.chain import MODEL_ID
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import Home

VERSION = f"{MODEL_ID}@1.1.0"


class TestTrace:
    def test_a_version_is_drawn_from_its_push_on(self, forge: Home) -> None:
        lines = told("trace", VERSION).splitlines()
        assert "push-received" in lines[0]
        assert lines[1].startswith("└─ config-committed")
        assert any("model-deployed" in line and f"{VERSION} answers" in line for line in lines)
        assert lines[-1].endswith("0 waiting, 0 dead")
        assert "answered after" in lines[-1]

    def test_what_ended_a_version_is_drawn_too(self, forge: Home) -> None:
        text = told("trace", f"{MODEL_ID}@1.0.0")
        assert text.count("push-received") == 2
        assert "replaced by 1.1.0" in text

    def test_a_run_is_drawn_alike(self, forge: Home) -> None:
        run = forge.store.load(f"models/{VERSION}").data["run_id"]
        assert told("trace", run[:8]) == told("trace", VERSION)

    def test_an_event_by_the_beginning_of_its_id(self, forge: Home) -> None:
        card = forge.bus.log(Query(name="card-rendered"))[0].event
        text = told("trace", card.id[:13])
        assert f"[{card.id[:8]}]" in text
        assert "training-progressed" not in text

    def test_chatter_is_folded_unless_all_is_asked_for(self, forge: Home) -> None:
        run = forge.store.list("runs")[0]
        said = forge.bus.log(Query(name="training-progressed", subject=run.key))[0].event
        for number in range(5):
            again = {"step": 30 + number}
            forge.bus.publish([_other(said, f"again-{number}", again)])
        assert "training-progressed ×6" in told("trace", run.name)
        assert told("trace", run.name, "--all").count("training-progressed") == 6

    def test_what_waits_and_is_dead_stands_below_its_event(self, forge: Home) -> None:
        card = forge.bus.log(Query(name="card-rendered", subject=f"models/{VERSION}"))[0].event
        forge.operations.redeliver(card.id, "deployment")
        (delivery,) = forge.bus.lease(1, 0)
        forge.bus.bury(delivery, "a bug in it")
        forge.operations.redeliver(card.id, "registration")
        text = told("trace", VERSION)
        assert "! dead with deployment, 1 attempt(s): a bug in it" in text
        assert "! waiting with registration, 0 attempt(s): not yet tried" in text
        assert text.splitlines()[-1].endswith("1 waiting, 1 dead")

    def test_json_is_the_tree(self, forge: Home) -> None:
        (root,) = read("trace", VERSION)
        assert root["event"]["name"] == "push-received"
        (committed,) = root["children"]
        assert committed["event"]["cause"] == root["event"]["id"]
        assert committed["marks"][0]["what"].startswith("runs/r-")

    @pytest.mark.parametrize("name", ["r-none", "no.such.v1", "ffffffff-0"])
    def test_what_there_is_not(self, forge: Home, name: str) -> None:
        assert name in refused("trace", name)


class TestEvents:
    def test_the_newest_are_listed(self, forge: Home) -> None:
        lines = told("events", "--last", "3").splitlines()
        newest = forge.bus.log(Query(newest=True, limit=3))
        assert [line.rsplit("[", 1)[1][:8] for line in lines] == [e.event.id[:8] for e in reversed(newest)]

    def test_filters_hold_together(self, forge: Home) -> None:
        run = forge.store.list("runs")[0]
        text = told("events", "--type", "checkpoint-written", "--subject", run.key, "--json")
        events = [from_structured_json(line.encode()) for line in text.splitlines()]
        assert {(event.name, event.subject) for event in events} == {("checkpoint-written", run.key)}

    def test_from_and_until(self, forge: Home) -> None:
        events = forge.operations.snapshot().events
        middle = events[len(events) // 2].time
        early = told("events", "--until", middle.isoformat(), "--json", "--last", "999").splitlines()
        late = told("events", "--since", middle.isoformat(), "--json", "--last", "999").splitlines()
        assert len(early) + len(late) == len(events)
        assert all(from_structured_json(line.encode()).time >= middle for line in late)

    def test_of_a_tenant(self, forge: Home) -> None:
        ours = told("events", "--tenant", "team-x", "--json", "--last", "999").splitlines()
        names = {json.loads(line)["type"] for line in ours}
        assert "dev.kuznia.workload-changed.v1" in names
        assert "dev.kuznia.push-received.v1" not in names
        assert told("events", "--tenant", "team-y", "--json") == ""

    def test_an_event_that_is_of_a_model_says_its_tenant(self, forge: Home) -> None:
        word = ModelRejected(
            model_id="a.b.llm.v2",
            version="1",
            who="x",
            role="y",
            manifest_digest="",
            card_digest="",
            reason="z",
        )
        assert Tenancy(forge.store).of(forge.say(word, "models/a.b.llm.v2@1")) == "a.b"

    def test_one_event_whole(self, forge: Home) -> None:
        card = forge.bus.log(Query(name="card-rendered"))[0].event
        text = told("events", "show", card.id[:12])
        for part in (
            card.id,
            "caused by, from the first on",
            "push-received",
            "heard by",
            "decided  models/",
        ):
            assert part in text
        plain = read("events", "show", card.id)
        assert plain["event"]["id"] == card.id
        assert [event["name"] for event in plain["ancestors"]][:2] == ["push-received", "config-committed"]
        assert {mark["state"] for mark in plain["hearers"]} == {"decided"}

    def test_a_lost_cause_is_told(self, forge: Home) -> None:
        committed = forge.bus.log(Query(name="config-committed"))[0].event
        forge.execute("DELETE FROM log WHERE id = ?", committed.cause)
        assert "is not in the log" in told("events", "show", committed.id)

    def test_one_that_is_none(self, forge: Home) -> None:
        assert "no event has an id" in refused("events", "show", "nope")


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "ago"), [("90s", 90), ("90m", 5400), ("2h", 7200), ("1.5d", 129600), ("1w", 604800)]
    )
    def test_how_long_ago(self, text: str, ago: float) -> None:
        told_ = datetime.now(UTC) - Moment().convert(text, None, None)
        assert abs(told_ - timedelta(seconds=ago)) < timedelta(seconds=30)

    def test_a_zone_is_kept_and_local_time_taken(self) -> None:
        assert Moment().convert("2026-11-23T10:00:00+02:00", None, None) == datetime(
            2026, 11, 23, 8, tzinfo=UTC
        )
        assert Moment().convert("2026-11-23", None, None).tzinfo is UTC

    @pytest.mark.parametrize("text", ["yesterday", "5", "", "2026-13-01"])
    def test_what_is_no_time(self, text: str) -> None:
        with pytest.raises(click.BadParameter, match="is no time"):
            Moment().convert(text, None, None)
        assert kuznia("events", "--since", text).exit_code == 2

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0 ms"),
            (0.999, "999 ms"),
            (61, "61.0 s"),
            (600, "10 min"),
            (3725, "1 h 02 min"),
            (-2, "-2.0 s"),
        ],
    )
    def test_spans(self, seconds: float, text: str) -> None:
        assert span(seconds) == text


def _other(event, identifier: str, data: dict[str, object]):
    return msgspec.structs.replace(event, id=identifier, data={**event.data, **data})
