# ruff: noqa: F401, F811 - fixtures come by import
"""`kuznia quota`: set, with who and why; shown, with what is used and who waits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.quotas import SERVICE
from services.training.queue import Entry, Ledger
from services.training.slots import KEY
from services.training.usage import month
from shared.delivery import handle
from shared.hosts.driver import Driver
from shared.ports.bus import Query
from shared.record import Dead, Record
from tests.services.cli.operators import forge, forged, home
from tests.services.cli.prepared import kuznia, read, refused, told
from tests.shared.operations.home import Home


@pytest.fixture(autouse=True)
def ann(forge: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUZNIA_USER", "ann")


def words(forge: Home) -> list[dict[str, Any]]:
    return [logged.event.data for logged in forge.bus.log(Query(name="quota-set"))]


def heard(forge: Home) -> None:
    """The platform is up, and hears what was said."""
    driver = Driver({"quotas": SERVICE}, forge.ports, forge.bus)
    for delivery in forge.bus.lease(10, 0):
        if delivery.service == "quotas":
            driver.run(handle(SERVICE, delivery, 1))


def test_it_is_an_event_with_who_and_why(forge: Home) -> None:
    text = told("quota", "set", "team-x", "--runs", "2", "--no-high", "--reason", "their share")
    assert text.startswith(
        "team-x: 2 runs at once, unlimited GPU hours a month, none of high priority (the platform"
    )
    (word,) = words(forge)
    assert word == {
        "tenant": "team-x", "by": "ann", "runs": 2, "gpu_hours": None, "high": False, "reason": "their share",
    }  # fmt: skip


def test_what_is_not_named_stays(forge: Home) -> None:
    known = {"tenant": "team-x", "runs": 2, "gpu_hours": 40.0, "high": False}
    forge.store.commit(Record(key="quotas/team-x", status="SET", data=known))
    told("quota", "set", "team-x", "--gpu-hours", "80.5")
    told("quota", "set", "team-x", "--runs", "unlimited", "--high")
    limits = [(word["runs"], word["gpu_hours"], word["high"]) for word in words(forge)]
    assert limits == [(2, 80.5, False), (None, 40.0, True)]


def test_of_all_together(forge: Home) -> None:
    assert told("quota", "set", "--installation", "--runs", "4").startswith(
        "the installation: 4 runs at once"
    )
    assert words(forge)[0]["tenant"] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name a TENANT, or --installation"),
        (("team-x", "--installation", "--runs", "1"), "name a TENANT, or --installation"),
        (("team-x",), "nothing to set: give --runs"),
        (("--installation", "--gpu-hours", "1"), "--installation takes --runs only"),
    ],
)
def test_what_cannot_be_set(forge: Home, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("quota", "set", *arguments)
    assert words(forge) == []


@pytest.mark.parametrize("number", ["-1", "many", "inf", "nan"])
def test_what_is_no_number(forge: Home, number: str) -> None:
    result = kuznia("quota", "set", "team-x", "--gpu-hours", number)
    assert result.exit_code == 2
    assert "number" in result.stderr


def test_shown_with_what_is_used_and_who_waits(forge: Home) -> None:
    now = forge.clock.now()
    entry = Entry(run="r-1", job="train-r-1", tenant="team-y", priority="normal", gpus=1, at=now)
    ledger = Ledger(
        running={"r-1": entry},
        waiting={
            "r-2": msgspec.structs.replace(entry, run="r-2", job="train-r-2", at=now + timedelta(hours=1))
        },
        used={month(now): {"team-y": 7.5}},
    )
    known = forge.store.load(KEY)
    forge.store.commit(msgspec.structs.replace(known, status="OPEN", data=msgspec.to_builtins(ledger)))
    entry_of = {"by": "ben", "at": now.isoformat(), "reason": "", "runs": 1, "gpu_hours": 40.0, "high": True}
    data = {"tenant": "team-y", "runs": 1, "gpu_hours": 40.0, "high": True, "history": [entry_of]}
    forge.store.commit(Record(key="quotas/team-y", status="SET", data=data))
    found = read("quota", "list")
    (mine,) = [quota for quota in found["quotas"] if quota["tenant"] == "team-y"]
    assert (mine["training"], mine["runs"], mine["gpu_hours"], mine["history"][0]["by"]) == (
        1,
        1,
        40.0,
        "ben",
    )
    assert mine["used"] >= 7.5
    assert found["waiting"] == [
        {"place": 1, "run": "r-2", "tenant": "team-y", "why": "team-y trains 1 of 1 at once"}
    ]
    text = told("quota", "list")
    assert "team-y" in text
    assert "(all)" in text


def test_one_that_died_in_the_queue_has_no_place_in_it(forge: Home) -> None:
    now = forge.clock.now()
    entries = {
        run: Entry(run=run, job=f"train-{run}", tenant="team-y", priority="normal", gpus=1, at=now)
        for run in ("r-1", "r-2")
    }
    known = forge.store.load(KEY)
    data = msgspec.to_builtins(Ledger(waiting=entries))
    forge.store.commit(msgspec.structs.replace(known, status="OPEN", data=data))
    mark = Dead(event="e-1", cause="a bug", at=now)
    forge.store.commit(Record(key="runs/r-1", status="QUEUED", data={}, dead=mark))
    first, second = read("quota", "list")["waiting"]
    assert (first["place"], first["run"], first["why"]) == (1, "r-2", "it is its turn")
    assert (second["place"], second["run"]) == (None, "r-1")
    assert "kuznia dead list" in second["why"]
    assert "kuznia dead list" in " ".join(told("quota", "list").split())


def test_what_is_heard_holds(forge: Home) -> None:
    told("quota", "set", "team-x", "--runs", "0")
    heard(forge)
    run = forge.store.load("quotas/team-x").data
    assert (run["runs"], run["history"][0]["by"]) == (0, "ann")
