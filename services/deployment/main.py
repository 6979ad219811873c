"""The service behind functions-framework: `--source services/deployment/main.py --target deployment`."""

from __future__ import annotations

from services.deployment import SERVICE
from shared.hosts.http import target

deployment = target(SERVICE)
