"""Quotas: what a tenant, and the installation, may use of the machines.

hears: quota-set
says: capacity-changed
owns: quotas (one a tenant, and one of the installation)
never: decides who trains; training does, which alone knows who waits
"""

from __future__ import annotations

from services.quotas.decide import decide, key
from services.quotas.effects import effects
from shared.service import Service

SERVICE = Service(
    name="quotas",
    hears=("quota-set",),
    says=("capacity-changed",),
    owns="quotas",
    key=key,
    decide=decide,
    effects=effects,
)
