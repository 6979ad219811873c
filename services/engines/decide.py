"""Which adapters an engine is to carry, and whether it runs at all. Pure.

The record is the engine's orders: the pod reads `adapters` of its own record, and nothing else. state: starting ·
ready · failed · stopped; from the last two a wanted adapter starts the next generation, a server of a new name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from events.adapter_dropped import AdapterDropped
from events.adapter_wanted import AdapterWanted
from events.catalog import decode, encode
from events.engine_idle import EngineIdle
from events.envelope import Event
from events.workload_changed import WorkloadChanged
from shared.errors import Reject
from shared.identity import workload_name
from shared.record import Record
from shared.service import Decision, Speech, Wish

IDLE_SECONDS = 600.0
RUNNING = frozenset({"starting", "ready"})
MOST_DROPPED = 200  # names kept of those that were dropped and not carried; far more than can be on their way


def key(event: Event) -> str | None:
    """`engines/<engine>`; of the cluster's changes only those of our own servers."""
    if event.name == "workload-changed":
        return event.data["key"] if event.data.get("service") == "engines" else None
    return f"engines/{event.data['engine']}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """See the module."""
    payload = decode(event)
    handlers: dict[type, Callable[[dict[str, Any], Any, Event], Decision | None]] = {
        AdapterWanted: _wanted,
        AdapterDropped: _dropped,
        EngineIdle: _idle,
        WorkloadChanged: _workload,
    }
    data = {**record.data, "adapters": dict(record.data.get("adapters", {}))}
    return handlers[type(payload)](data, payload, event)


def _wanted(data: dict[str, Any], wanted: AdapterWanted, event: Event) -> Decision:
    """One more to carry; the engine is started where it does not run. Raises Reject for another tenant's.

    Every start of a version has a name of its own: what was dropped is not wanted again, it is only heard late.
    """
    if data.get("tenant", wanted.tenant) != wanted.tenant:
        raise Reject(f"{wanted.engine} is {data['tenant']}'s, and {wanted.release} is {wanted.tenant}'s")
    if wanted.release in data.get("dropped", []):
        data["dropped"] = [release for release in data["dropped"] if release != wanted.release]
        return Decision(status="ACTIVE", data=data)
    told = encode(wanted) | {"cause": event.id, "traceparent": event.traceparent}
    data["adapters"][wanted.release] = told
    if data.get("state") in RUNNING:
        return Decision(status="ACTIVE", data=data)
    generation = data.get("generation", 0) + 1
    server = workload_name(wanted.engine, str(generation))
    data.update(
        tenant=wanted.tenant,
        base_model=wanted.artifact.base_model,
        base_revision=wanted.artifact.base_revision,
        template=wanted.template,
        max_rank=wanted.max_rank,
        generation=generation,
        server=server,
        state="starting",
        address="",
        attempt=0,
        cause="",
    )
    return Decision(status="ACTIVE", data=data, wishes=(Wish("serve", {"server": server}),))


def _dropped(data: dict[str, Any], dropped: AdapterDropped, _event: Event) -> Decision | None:
    """One less; the last one begins the while after which the engine ends."""
    if data["adapters"].pop(dropped.release, None) is None:
        return _dropped_early(data, dropped.release)
    if data["adapters"] or data.get("state") not in RUNNING:
        return Decision(status="ACTIVE", data=data)
    emptied = data["emptied"] = data.get("emptied", 0) + 1
    wish = Wish("remind", {"engine": dropped.engine, "emptied": emptied}, IDLE_SECONDS)
    return Decision(status="ACTIVE", data=data, wishes=(wish,))


def _dropped_early(data: dict[str, Any], release: str) -> Decision:
    """That it is wanted may still come: a dead letter that is redriven."""
    nothing = {"state": "stopped", "server": "", "address": ""}
    names = [*data.get("dropped", []), release][-MOST_DROPPED:]
    return Decision(status="ACTIVE", data={**nothing, **data, "dropped": names})


def _idle(data: dict[str, Any], idle: EngineIdle, _event: Event) -> Decision | None:
    since = data.get("emptied") == idle.emptied and data.get("state") in RUNNING
    if not since or data["adapters"]:
        return None
    data.update(state="stopped", address="")
    return Decision(status="ACTIVE", data=data, wishes=(Wish("stop", {"server": data["server"]}),))


def _workload(data: dict[str, Any], change: WorkloadChanged, _event: Event) -> Decision | None:
    """Of the server that runs now; what an older generation, or an earlier start, still says means nothing."""
    if change.name != data.get("server") or data["state"] not in RUNNING:
        return None
    if change.phase == "ready" and change.attempt >= data.get("attempt", 0):
        data.update(state="ready", address=change.address, attempt=change.attempt)
        return Decision(status="ACTIVE", data=data)
    if change.phase == "failed":
        return _failed(data, change)
    return None


def _failed(data: dict[str, Any], change: WorkloadChanged) -> Decision:
    """Every adapter falls with it; deployment knows what to do without an engine in common."""
    lost = data["adapters"]
    cause = f"{change.reason}: {change.message}"
    data.update(state="failed", address="", cause=cause, adapters={})
    says = tuple(_fell(told, change) for told in lost.values())
    return Decision(status="ACTIVE", data=data, says=says)


def _fell(told: dict[str, Any], change: WorkloadChanged) -> Speech:
    """As the cluster would say it of a server of the release's own."""
    said = WorkloadChanged(
        name=told["release"],
        service="deployment",
        key=f"releases/{told['model_id']}",
        kind="server",
        phase="failed",
        attempt=change.attempt,
        reason=change.reason,
        message=f"its engine {change.name} ended: {change.message}",
        exit_code=change.exit_code,
    )
    return Speech(said, f"models/{told['model_id']}@{told['version']}")
