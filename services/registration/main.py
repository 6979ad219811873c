"""The service behind functions-framework: `--source services/registration/main.py --target registration`."""

from __future__ import annotations

from services.registration import SERVICE
from shared.hosts.http import target

registration = target(SERVICE)
