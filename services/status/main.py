"""The service behind functions-framework: `--source services/status/main.py --target status`."""

from __future__ import annotations

from services.status import SERVICE
from shared.hosts.http import target

status = target(SERVICE)
