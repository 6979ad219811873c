from __future__ import annotations

from tests.shared.podkit.world import warm_home, warm_world, world

__all__ = ["warm_home", "warm_world", "world"]
