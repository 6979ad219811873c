from __future__ import annotations

from tests.charts.llama_factory_api import chart

__all__ = ["chart"]
