from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.gateway.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("services.gateway.voice.REPORT_EVERY", 0.02)
    world = World(tmp_path).start()
    yield world
    world.close()
