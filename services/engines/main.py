"""The service behind functions-framework: `--source services/engines/main.py --target engines`."""

from __future__ import annotations

from services.engines import SERVICE
from shared.hosts.http import target

engines = target(SERVICE)
