"""The service behind functions-framework: `--source services/cards/main.py --target cards`."""

from __future__ import annotations

from services.cards import SERVICE
from shared.hosts.http import target

cards = target(SERVICE)
