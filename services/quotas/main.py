"""The service behind functions-framework: `--source services/quotas/main.py --target quotas`."""

from __future__ import annotations

from services.quotas import SERVICE
from shared.hosts.http import target

quotas = target(SERVICE)
