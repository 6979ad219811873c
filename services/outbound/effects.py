"""What a broadcast asks for: a delivery for each that wants the event and may hear it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from services.outbound.decide import Broadcast
from services.outbound.subscribers import ALL, may_hear, wants
from shared.errors import Conflict
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`tell`: write the deliveries down, under names made of subscriber and event; posting is the courier's."""

    def tell(do: Do, _record: Record) -> Sequence[Speech]:
        broadcast = msgspec.convert(do.arguments, Broadcast)
        subscribers = ports.store.list("subscribers", status="ACTIVE")
        interested = [one for one in subscribers if wants(one.data, broadcast.name)]
        if any(ALL not in one.data["tenants"] for one in interested):
            broadcast = _with_tenant(ports, broadcast)
        for subscriber in interested:
            if may_hear(subscriber.data, broadcast.tenant):
                _write_down(ports, subscriber.name, broadcast)
        return []

    return {"tell": tell}


def _with_tenant(ports: Ports, broadcast: Broadcast) -> Broadcast:
    """Of a run's events only the run's record knows whose it is."""
    if broadcast.tenant or not broadcast.run:
        return broadcast
    run = ports.store.load(f"runs/{broadcast.run}").data
    return msgspec.structs.replace(broadcast, tenant=run.get("model", {}).get("tenant", ""))


def _write_down(ports: Ports, subscriber: str, broadcast: Broadcast) -> None:
    key = f"deliveries/{subscriber}/{broadcast.event}"
    if ports.store.load(key).revision:
        return
    now = ports.clock.now()
    data = {
        "subscriber": subscriber,
        "event": broadcast.event,
        "name": broadcast.name,
        "subject": broadcast.subject,
        "time": broadcast.time.isoformat(),
        "tries": 0,
        "attempts": [],
    }
    try:
        ports.store.commit(Record(key=key, status="PENDING", data=data, created_at=now, updated_at=now))
    except Conflict:  # written down meanwhile, by another who was lent the same event
        if not ports.store.load(key).revision:
            raise
