"""The service behind functions-framework: `--source services/outbound/main.py --target outbound`."""

from __future__ import annotations

from services.outbound import SERVICE
from shared.hosts.http import target

outbound = target(SERVICE)
