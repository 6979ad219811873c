# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia dead`: listed with cause and record, shown, redriven, discarded; every step is kept."""

from __future__ import annotations

import msgspec
import pytest

from shared.ports.bus import Query
from shared.record import Dead
from tests.services.chain import MODEL_ID
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import Home

CAUSE = "the store said 503\nand more of it"


@pytest.fixture
def buried(forge: Home) -> str:
    """A card that the registry could not hear of; its id. Another one died in deployment of something else."""
    first, second = [logged.event for logged in forge.bus.log(Query(name="card-rendered"))]
    for event, service, cause in ((first, "registration", CAUSE), (second, "deployment", "a bug")):
        forge.operations.redeliver(event.id, service)
        (delivery,) = forge.bus.lease(1, 0)
        forge.bus.bury(delivery, cause)
    return first.id


def test_a_healthy_home(forge: Home) -> None:
    assert told("dead", "list").strip() == "no dead letters"
    assert read("dead", "list") == []
    assert told("dead", "notes").strip() == "no notes"


def test_the_list(forge: Home, buried: str) -> None:
    first, second = read("dead", "list")
    assert (first["event"]["id"], first["service"], first["cause"]) == (buried, "registration", CAUSE)
    assert (first["key"], first["status"]) == (f"models/{MODEL_ID}@1.0.0", "DEPRECATED")
    assert (first["attempts"], first["dead"]) == (1, False)
    assert second["service"] == "deployment"
    assert [each["service"] for each in read("dead", "list", "--cause", "503")] == ["registration"]


def test_one_whole(forge: Home, buried: str) -> None:
    text = told("dead", "show", buried[:10])
    for part in (buried, "registration", "the store said 503", "and more of it", "DEPRECATED"):
        assert part in text
    (plain,) = read("dead", "show", buried)
    assert plain["event"]["type"] == "dev.kuznia.card-rendered.v1"


def test_one_is_redriven(forge: Home, buried: str) -> None:
    assert told("dead", "redrive", buried, "--reason", "503 is over").startswith("1 of 1 redriven")
    forge.pump()
    assert [each["service"] for each in read("dead", "list")] == ["deployment"]
    (note,) = read("dead", "notes")
    assert (note["who"], note["reason"]) == ("Ann", "503 is over")
    assert note["detail"]["letters"][0]["event"] == buried


def test_all_of_a_cause_are_redriven_at_a_rate(forge: Home, buried: str) -> None:
    assert "1 of 1 redriven, over 0 s" in told("dead", "redrive", "--cause", "A BUG", "--rate", "10")
    assert read("dead", "redrive", "--all") == {"redriven": 1}
    forge.pump()
    assert read("dead", "list") == []


def test_a_mark_goes_with_the_redrive(forge: Home, buried: str) -> None:
    record = forge.store.load(f"models/{MODEL_ID}@1.0.0")
    mark = Dead(event=buried, cause=CAUSE, at=forge.clock.now())
    forge.store.commit(msgspec.structs.replace(record, dead=mark))
    assert read("dead", "show", buried)[0]["dead"]
    told("dead", "redrive", buried)
    forge.pump()
    assert forge.store.load(record.key).dead is None


def test_discarded_with_a_reason_it_is_kept(forge: Home, buried: str) -> None:
    assert told("dead", "discard", buried, "--reason", "the card is known").startswith(
        "discarded card-rendered"
    )
    assert [each["service"] for each in read("dead", "list")] == ["deployment"]
    (note,) = read("dead", "notes")
    assert note["action"] == "discard"
    assert note["detail"]["cause"] == CAUSE
    assert forge.bus.event(buried)


def test_refusals(forge: Home, buried: str) -> None:
    assert kuznia("dead", "discard", buried).exit_code == 2
    assert "--reason is empty" in refused("dead", "discard", buried, "--reason", " ")
    assert "say which" in refused("dead", "redrive")
    assert "say which" in refused("dead", "redrive", buried, "--all")
    assert "nothing dead has an id none" in refused("dead", "show", "none")
    assert "nothing dead of cards has an id" in refused("dead", "redrive", buried, "--service", "cards")
    assert kuznia("dead", "redrive", "--all", "--rate", "-1").exit_code == 2
    assert len(read("dead", "list")) == 2
    assert read("dead", "notes") == []
