"""The service behind functions-framework: `--source services/training/main.py --target training`."""

from __future__ import annotations

from services.training import SERVICE
from shared.hosts.http import target

training = target(SERVICE)
