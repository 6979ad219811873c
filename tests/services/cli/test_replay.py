# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia replay`: a rehearsal first, and only with a reason for real."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec

from shared.ports.bus import Query
from tests.services.chain import MODEL_ID
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import CHAIN, Home
from tests.shared.operations.test_transfer import states

OURS = [word for name in CHAIN for word in ("--service", name)]


def forget_the_card(home: Home) -> str:
    """Let the registry lose what it heard of a card; the event's id."""
    key = f"models/{MODEL_ID}@1.1.0"
    record = home.store.load(key)
    card = home.bus.log(Query(name="card-rendered", subject=key))[0].event
    data = {name: value for name, value in record.data.items() if not name.startswith("card_")}
    inbox = tuple(identifier for identifier in record.inbox if identifier != card.id)
    home.overwrite(msgspec.structs.replace(record, data=data, inbox=inbox))
    return card.id


def test_a_healthy_home_rehearsed(forge: Home) -> None:
    text = told("replay", "--all", "--dry-run", *OURS)
    assert "nothing would change, nothing would be asked for" in text
    plain = read("replay", "--all", "--dry-run", *OURS)
    assert plain["changes"] == []
    assert plain["events"] > 30


def test_what_would_change_is_told_by_record_and_the_code_says_so(forge: Home) -> None:
    card = forget_the_card(forge)
    before = states(forge)
    result = kuznia("replay", "--type", "card-rendered", "--dry-run", *OURS)
    assert result.exit_code == 1
    assert f"models/{MODEL_ID}@1.1.0\n" in result.stdout
    assert f"card-rendered [{card[:8]}] in registration" in result.stdout
    assert "card_digest: nothing -> sha256:" in result.stdout
    assert "1 reaction(s) would do something; no effect would be asked for" in result.stdout
    assert states(forge) == before
    (change,) = json.loads(kuznia("replay", "--id", card, "--dry-run", "--json", *OURS).stdout)["changes"]
    assert change["service"] == "registration"


def test_for_real_it_mends_what_was_lost(forge: Home) -> None:
    whole = forge.store.load(f"models/{MODEL_ID}@1.1.0").data
    card = forget_the_card(forge)
    text = told("replay", "--id", card, *OURS, "--reason", "the registry lost the card")
    assert text.startswith("1 event(s), 2 deliveries made")
    forge.pump()
    assert forge.store.load(f"models/{MODEL_ID}@1.1.0").data == whole
    (note,) = forge.operations.notes("replay")
    assert (note.who, note.reason, note.detail["ids"]) == ("Ann", "the registry lost the card", [card])
    assert read("dead", "notes")[0]["action"] == "replay"


def test_a_service_that_never_heard_is_told_of(forge: Home) -> None:
    """One that was added later: the rehearsal says what it would do with the past."""
    forge.execute("DELETE FROM records WHERE key LIKE 'cards/%'")
    result = kuznia("replay", "--type", "model-registered", "--service", "cards", "--dry-run")
    assert result.exit_code == 1
    assert "status: nothing -> COLLECTING" in result.stdout


def test_refusals(forge: Home) -> None:
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "say which events" in refused("replay", "--dry-run")
    assert "say why" in refused("replay", "--all")
    assert "say why" in refused("replay", "--all", "--reason", "  ")
    assert "is in the future" in refused("replay", "--until", later, "--dry-run")
    assert "no event has an id" in refused("replay", "--id", "nope", "--dry-run")
    assert "no service is called mail" in refused("replay", "--all", "--service", "mail", "--dry-run")
    assert forge.operations.notes() == []
    assert forge.bus.pending() == 0


def test_nothing_chosen_is_nothing_done(forge: Home) -> None:
    assert read("replay", "--subject", "runs/r-none", "--reason", "x") == {"events": 0, "deliveries": 0}
    assert forge.operations.notes() == []


def test_what_happened_in_the_future_is_refused(forge: Home) -> None:
    event = forge.bus.log(Query(name="card-rendered"))[0].event
    early = msgspec.structs.replace(event, id="early", time=datetime.now(UTC) + timedelta(hours=1))
    forge.bus.publish([early])
    assert "of the future, such as card-rendered early" in refused("replay", "--id", "early", "--dry-run")
