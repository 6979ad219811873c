"""Which adapters an engine is to carry, and whether it runs: one record, in every order that words come."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events.adapter_dropped import AdapterDropped
from events.adapter_wanted import AdapterWanted
from events.engine_idle import EngineIdle
from events.workload_changed import WorkloadChanged
from services.engines import SERVICE
from services.engines.decide import IDLE_SECONDS
from shared.errors import Reject
from shared.service import Decision
from tests.services.words import MODEL_ID, Hearing, artifact, changed, said, wished

ENGINE = "engine-team-x-0123456789ab"
KEY = f"engines/{ENGINE}"


def release(version: str) -> str:
    return f"serve-{version}"


class Desk(Hearing):
    """The engine of one base."""

    def __init__(self) -> None:
        super().__init__(SERVICE, KEY)

    def want(self, version: str) -> Decision | None:
        word = AdapterWanted(
            engine=ENGINE,
            tenant="team-x",
            template="chatml",
            max_rank=16,
            release=release(version),
            model_id=MODEL_ID,
            version=version,
            engine_model=f"{MODEL_ID}@{version}",
            artifact=artifact(version),
        )
        return self.hear(word)

    def drop(self, version: str) -> Decision | None:
        return self.hear(AdapterDropped(engine=ENGINE, release=release(version)))

    def idle(self, emptied: int) -> Decision | None:
        return self.hear(EngineIdle(engine=ENGINE, emptied=emptied))

    def server(self, phase: str, name: str = "", **facts: Any) -> Decision | None:
        return self.hear(changed(phase, name or self.data["server"], "engines", KEY, **facts))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_first_adapter_starts_it(desk: Desk):
    assert wished(desk.want("1.0.0")) == [("serve", {"server": f"{ENGINE}-1"})]
    assert (desk.data["state"], desk.data["base_model"]) == ("starting", artifact().base_model)
    told = desk.data["adapters"]["serve-1.0.0"]
    assert (told["engine_model"], told["cause"]) == (f"{MODEL_ID}@1.0.0", "e-1")


def test_the_next_one_is_only_written_down(desk: Desk):
    desk.want("1.0.0")
    desk.server("ready", address="127.0.0.1:41000")
    decision = desk.want("1.1.0")
    assert (wished(decision), said(decision)) == ([], [])
    assert set(desk.data["adapters"]) == {"serve-1.0.0", "serve-1.1.0"}
    assert (desk.data["state"], desk.data["address"]) == ("ready", "127.0.0.1:41000")


def test_the_last_one_gone_it_ends_after_a_while(desk: Desk):
    desk.want("1.0.0")
    desk.want("1.1.0")
    assert wished(desk.drop("1.0.0")) == []
    decision = desk.drop("1.1.0")
    assert decision is not None
    (wish,) = decision.wishes
    assert (wish.effect, wish.arguments, wish.delay) == (
        "remind", {"engine": ENGINE, "emptied": 1}, IDLE_SECONDS,
    )  # fmt: skip
    assert wished(desk.idle(1)) == [("stop", {"server": f"{ENGINE}-1"})]
    assert desk.data["state"] == "stopped"


def test_who_comes_within_the_while_keeps_it(desk: Desk):
    desk.want("1.0.0")
    desk.drop("1.0.0")
    desk.want("1.1.0")
    assert desk.idle(1) is None
    desk.drop("1.1.0")
    assert desk.idle(1) is None, "of the first while, and the second one runs"
    assert wished(desk.idle(2)) == [("stop", {"server": f"{ENGINE}-1"})]
    assert desk.idle(2) is None


def test_after_its_end_the_next_adapter_starts_another_server(desk: Desk):
    desk.want("1.0.0")
    desk.drop("1.0.0")
    desk.idle(1)
    assert wished(desk.want("1.1.0")) == [("serve", {"server": f"{ENGINE}-2"})]
    assert desk.server("ready", name=f"{ENGINE}-1", address="127.0.0.1:1") is None
    assert desk.data["state"] == "starting"


def test_what_was_dropped_before_it_was_heard_to_be_wanted_is_not_carried(desk: Desk):
    assert wished(desk.drop("1.0.0")) == []
    assert wished(desk.want("1.0.0")) == []
    assert (desk.data["adapters"], desk.data["state"]) == ({}, "stopped")
    assert wished(desk.want("1.1.0")) == [("serve", {"server": f"{ENGINE}-1"})]
    desk.drop("1.2.0")
    desk.want("1.2.0")
    assert set(desk.data["adapters"]) == {"serve-1.1.0"}
    assert desk.data["dropped"] == []


def test_its_failure_is_that_of_all_that_it_carries(desk: Desk):
    desk.want("1.0.0")
    desk.want("1.1.0")
    words = said(desk.server("failed", attempt=4, reason="Killed", message="out of memory", exit_code=137))
    assert [(type(word), word.name, word.service, word.key) for word in words] == [
        (WorkloadChanged, f"serve-{version}", "deployment", f"releases/{MODEL_ID}")
        for version in ("1.0.0", "1.1.0")
    ]
    assert {(word.phase, word.reason, word.message) for word in words} == {
        ("failed", "Killed", f"its engine {ENGINE}-1 ended: out of memory")
    }
    assert (desk.data["state"], desk.data["adapters"]) == ("failed", {})
    assert wished(desk.drop("1.0.0")) == []
    assert desk.server("failed") is None, "it is over"
    assert wished(desk.want("1.2.0")) == [("serve", {"server": f"{ENGINE}-2"})]


def test_its_subjects_differ_so_that_none_is_taken_for_another(desk: Desk):
    desk.want("1.0.0")
    desk.want("1.1.0")
    decision = desk.server("failed", reason="Killed", message="")
    assert decision is not None
    assert len({speech.subject for speech in decision.says}) == 2


def test_started_again_it_answers_elsewhere(desk: Desk):
    desk.want("1.0.0")
    desk.server("ready", address="127.0.0.1:1")
    desk.server("ready", address="127.0.0.1:2", attempt=2)
    assert desk.data["address"] == "127.0.0.1:2"
    assert desk.server("ready", address="127.0.0.1:1") is None, "its first start is no more"
    assert desk.data["address"] == "127.0.0.1:2"
    assert desk.server("running") is None


def test_another_tenant_s_adapter_is_refused(desk: Desk):
    desk.want("1.0.0")
    desk.record = msgspec.structs.replace(desk.record, data={**desk.data, "tenant": "team-y"})
    with pytest.raises(Reject, match=r"is team-y's, and serve-1\.1\.0 is team-x's"):
        desk.want("1.1.0")


def test_what_others_servers_do_is_none_of_its_business():
    word = changed("ready", "serve-1", "deployment", f"releases/{MODEL_ID}")
    assert SERVICE.key(Desk().event(word)) is None
