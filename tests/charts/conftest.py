from __future__ import annotations

from tests.charts.llama_factory_api import chart
from tests.shared.podkit.world import world

__all__ = ["chart", "world"]
