"""Webhook: a verified push becomes the experiments it changed.

hears: push-received
says: config-committed
owns: branches (one a watched branch: its head and its last deliveries)
never: reads a config for its sense; that is training's business
"""

from __future__ import annotations

from services.webhook.decide import decide, key
from services.webhook.effects import effects
from shared.service import Service

SERVICE = Service(
    name="webhook",
    hears=("push-received",),
    says=("config-committed",),
    owns="branches",
    key=key,
    decide=decide,
    effects=effects,
)
