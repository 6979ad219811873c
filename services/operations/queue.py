"""Checks of the queue: nobody waits for a slot that is free, and nobody who is over keeps one."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from services.quotas.decide import INSTALLATION
from services.training.queue import Ledger, Limits, turns
from services.training.slots import ENDS, KEY
from shared.operations.doctor import Finding, Patient

CALL = "`kuznia quota set` with the numbers that it has already calls all who wait"


def slots(patient: Patient) -> Iterator[Finding]:
    """Who waits has somebody to wait for; who has a slot trains, or is about to."""
    record = patient.store.load(KEY)
    if patient.since(record.updated_at) <= patient.patience.settle:
        return
    ledger = msgspec.convert(record.data, Ledger)
    tenants = {entry.tenant for entry in ledger.waiting.values()}
    limits = {tenant: _limits(patient, tenant) for tenant in ("", *sorted(tenants))}
    for name, why in turns(ledger, limits, patient.now).items():
        run = patient.store.load(f"runs/{name}")
        if not why and run.dead is None and patient.since(run.updated_at) > patient.patience.settle:
            yield Finding(check="slots", what="waits, though a slot is free for it", where=run.key, mend=CALL)
    for name in ledger.running:
        run = patient.store.load(f"runs/{name}")
        if run.status in ENDS and patient.since(run.updated_at) > patient.patience.settle:
            mend = f"it is taken back as soon as another has to wait; `kuznia show {name}` tells what is owed"
            yield Finding(check="slots", what="is over, and still has a slot", where=run.key, mend=mend)


def _limits(patient: Patient, tenant: str) -> Limits:
    return msgspec.convert(patient.store.load(f"quotas/{tenant or INSTALLATION}").data, Limits)
