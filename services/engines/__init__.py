"""Engines: keeps one vLLM for the adapters that a tenant has on one base, and says which of them answer.

hears: adapter-wanted, adapter-dropped, engine-idle, workload-changed
says: workload-changed (of an adapter, under the release's name), engine-idle
owns: engines (one a tenant, base and options: its server, and the adapters that are wanted in it)
never: loads weights that are not what was registered, nor another tenant's
"""

from __future__ import annotations

from services.engines.decide import decide, key
from services.engines.effects import effects
from shared.service import Service

SERVICE = Service(
    name="engines",
    hears=("adapter-wanted", "adapter-dropped", "engine-idle", "workload-changed"),
    says=("workload-changed", "engine-idle"),
    owns="engines",
    key=key,
    decide=decide,
    effects=effects,
)
