from __future__ import annotations

from tests.shared.podkit.world import world

__all__ = ["world"]
