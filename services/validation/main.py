"""The service behind functions-framework: `--source services/validation/main.py --target validation`."""

from __future__ import annotations

from services.validation import SERVICE
from shared.hosts.http import target

validation = target(SERVICE)
