"""The platform's chart, rendered and read once for each set of values."""

from __future__ import annotations

import json
from pathlib import Path

from tests.charts.rendering import KUBERNETES, Chart, Document, Values


class PlatformChart(Chart):
    """What is handed out is not to be changed."""

    def __init__(self, helm: str, scratch: Path) -> None:
        super().__init__(helm, "kuznia", scratch)
        self._read: dict[str, list[Document]] = {}

    def documents(self, values: Values, version: str = KUBERNETES) -> list[Document]:
        """All objects, hooks included."""
        key = json.dumps([values, version], sort_keys=True)
        if key not in self._read:
            self._read[key] = super().documents(values, version)
        return self._read[key]
