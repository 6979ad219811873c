"""The service behind functions-framework: `--source services/webhook/main.py --target webhook`."""

from __future__ import annotations

from services.webhook import SERVICE
from shared.hosts.http import target

webhook = target(SERVICE)
