"""What a quota may ask for: that the runs it concerns look again at what they may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from events.capacity_changed import CapacityChanged
from shared.record import Do, Record
from shared.service import Effect, Ports, Speech

SLOTS = "slots/training"  # training's own; it is only read here


def effects(ports: Ports) -> Mapping[str, Effect]:
    """`offer`: tell each run that waits, and each that trains."""

    def offer(do: Do, _record: Record) -> Sequence[Speech]:
        tenant = do.arguments["tenant"]
        slots = ports.store.load(SLOTS).data
        why = f"the quota of {tenant or 'the installation'} was set by {do.arguments['by']}"
        entries = {**slots.get("waiting", {}), **slots.get("running", {})}
        concerned = sorted(run for run, entry in entries.items() if tenant in ("", entry["tenant"]))
        return [Speech(CapacityChanged(run_id=run, why=why), f"runs/{run}") for run in concerned]

    return {"offer": offer}
