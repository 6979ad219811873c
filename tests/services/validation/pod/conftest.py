from __future__ import annotations

from tests.shared.podkit.world import either_world, warm_home, warm_world, world

__all__ = ["either_world", "warm_home", "warm_world", "world"]
