"""What follows from a quota that was set: it holds, its history stays, and those whom it concerns are called."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from events.catalog import encode
from events.envelope import Event
from events.quota_set import QuotaSet
from services.quotas import SERVICE
from services.quotas.effects import SLOTS
from shared.errors import Reject
from shared.record import Do, Record
from shared.service import Ports
from tests.memory import ManualClock, MemoryStore

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def said(**fields: Any) -> Event:
    word = QuotaSet(by="ann", **{"tenant": "team-x", **fields})
    return Event(id="e-1", name="quota-set", source="/test", subject="x", time=NOON, data=encode(word))


def test_each_tenant_has_its_record_and_so_has_the_installation():
    assert SERVICE.key(said()) == "quotas/team-x"
    assert SERVICE.key(said(tenant="")) == "quotas/_all"


def test_the_last_one_holds_and_who_set_which_stays():
    record = Record(key="quotas/team-x")
    for runs in (1, 2):
        decision = SERVICE.decide(record, said(runs=runs, reason=f"{runs} machines"), NOON)
        assert decision is not None
        record = Record(key=record.key, status=decision.status, data=decision.data, revision=runs)
    assert (record.status, record.data["runs"], record.data["gpu_hours"]) == ("SET", 2, None)
    assert [(entry["runs"], entry["reason"]) for entry in record.data["history"]] == [
        (1, "1 machines"),
        (2, "2 machines"),
    ]


@pytest.mark.parametrize("limits", [{"runs": -1}, {"gpu_hours": -0.5}, {"gpu_hours": float("inf")}])
def test_what_no_quota_can_be(limits: dict[str, Any]):
    with pytest.raises(Reject, match="less than none"):
        SERVICE.decide(Record(key="quotas/team-x"), said(**limits), NOON)


@pytest.mark.parametrize(("tenant", "called"), [("team-x", ["r-1", "r-3"]), ("", ["r-1", "r-2", "r-3"])])
def test_whom_it_concerns_is_called(tenant: str, called: list[str]):
    store = MemoryStore()
    entries = {"r-1": {"tenant": "team-x"}, "r-2": {"tenant": "team-y"}}
    slots = {"running": entries, "waiting": {"r-3": {"tenant": "team-x"}}}
    store.commit(Record(key=SLOTS, status="OPEN", data=slots))
    nothing: Any = None
    ports = Ports(store=store, artifacts=nothing, cluster=nothing, clock=ManualClock(NOON), settings=nothing)  # type: ignore[arg-type]
    do = Do(id="do-1", effect="offer", arguments={"tenant": tenant, "by": "ann"}, cause="e-1")
    speeches = SERVICE.effects(ports)["offer"](do, Record(key="quotas/team-x"))
    assert [speech.subject for speech in speeches] == [f"runs/{run}" for run in called]
    assert speeches[0].payload.why == f"the quota of {tenant or 'the installation'} was set by ann"
