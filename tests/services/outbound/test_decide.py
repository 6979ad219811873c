"""Whom an event is for, as far as it says itself; and which subscribers want and may hear it."""

from __future__ import annotations

from typing import Any

import pytest

from events.catalog import definitions
from events.envelope import Event
from services.outbound import SERVICE
from services.outbound.subscribers import faults, may_hear, wants
from shared.record import Record
from tests.memory import START

TOO_OFTEN = {"training-progressed", "traffic-measured", "answers-judged"}
AMONG_OURSELVES = {  # how services hand each other work; what comes of it is told under another name
    "adapter-dropped",
    "adapter-wanted",
    "budget-checked",
    "capacity-changed",
    "engine-idle",
    "model-wanted",
    "release-due",
    "workload-changed",
}


def event(subject: str = "runs/r-1", **data: Any) -> Event:
    return Event(id="e-1", name="model-deployed", source="/s", subject=subject, time=START, data=data)


def broadcast(heard: Event) -> dict[str, Any]:
    decision = SERVICE.decide(Record(key=str(SERVICE.key(heard))), heard, START)
    assert decision is not None
    assert decision.status == "HEARD"
    (wish,) = decision.wishes
    assert wish.effect == "tell"
    return wish.arguments


@pytest.mark.parametrize(
    ("heard", "tenant", "run"),
    [
        (event(model={"tenant": "team-x", "model_id": "team-x.a.v1"}), "team-x", ""),
        (event("models/team-x.a.v1@1.0.0", model_id="team-x.a.v1", version="1.0.0"), "team-x", ""),
        (event("releases/team-y.a.v1"), "team-y", ""),
        (event("evaluations/team-z.a.v1@1.0.0", key="team-z.a.v1@1.0.0"), "team-z", ""),
        (event("runs/r-1", run_id="r-1"), "", "r-1"),
        (event("branches/org/repo/main", repository="org/repo"), "", ""),
    ],
)
def test_whose_it_is(heard: Event, tenant: str, run: str):
    told = broadcast(heard)
    assert (told["tenant"], told["run"]) == (tenant, run)
    assert (told["event"], told["name"], told["subject"]) == ("e-1", heard.name, heard.subject)


def test_each_event_has_a_record_and_is_told_of_once():
    assert SERVICE.key(event()) == "broadcasts/e-1"
    assert SERVICE.decide(Record(key="broadcasts/e-1", revision=1), event(), START) is None


def test_all_is_heard_but_what_comes_too_often_or_is_said_among_ourselves():
    assert set(SERVICE.hears) == set(definitions()) - TOO_OFTEN - AMONG_OURSELVES


@pytest.mark.parametrize(
    ("events", "wanted"), [(["*"], True), (["model-deployed", "x"], True), (["model-rejected"], False)]
)
def test_who_wants_it(events: list[str], wanted: bool):
    assert wants({"events": events}, "model-deployed") is wanted


@pytest.mark.parametrize(
    ("tenants", "tenant", "may"),
    [
        (["*"], "team-x", True), (["*"], "", True), (["team-x"], "team-x", True), (["team-y"], "team-x", False),
        (["team-x"], "", False), (["team"], "team-x", False), ([""], "", False),
    ],
)  # fmt: skip
def test_nobody_hears_of_another_tenant(tenants: list[str], tenant: str, may: bool):
    assert may_hear({"tenants": tenants}, tenant) is may


def test_a_right_subscription_has_no_faults():
    assert faults("https://hooks.example:8443/x?y=1", ("*", "model-deployed"), SERVICE.hears) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://hooks.example/", "https://"), ("hooks.example", "https://"), ("https://", "https://"),
        ("https://a:b@hooks.example/", "user or password"), ("https://hooks.example/#x", "fragment"),
        ("https://hooks.example/ x", "printable"), ("https://hooks.example:99999/", "no URL"),
        ("https://hooks.example/\r\nHost: x", "printable"), ("https://h/" + "x" * 2000, "2000"),
    ],
)  # fmt: skip
def test_a_wrong_url_is_told(url: str, said: str):
    assert said in "\n".join(faults(url, ("*",), SERVICE.hears))


def test_all_faults_at_once():
    found = faults("ftp://x/#y", ("model-dreamt", "training-progressed"), SERVICE.hears)
    assert len(found) == 4
