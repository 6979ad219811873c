"""Numbers of the law, for whoever judges by them; light, so that a card needs nothing of how a manifest is read."""

from __future__ import annotations

LOG_DAYS_HIGH_RISK = 183  # Regulation (EU) 2024/1689, Articles 19(1) and 26(6): at least six months
