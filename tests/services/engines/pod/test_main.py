"""An engine starts once something is wanted of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.engines.pod import main
from shared.podkit.stopping import Preempted


class Registry:
    """Wants nothing for so many looks."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def wanted(self) -> dict[str, Any]:
        self.left -= 1
        return {} if self.left >= 0 else {"serve-1": "an adapter"}


class Stopping:
    """Asks it to stop at some look."""

    def __init__(self, registry: Registry, at: int) -> None:
        self._registry, self._at = registry, at

    def check(self) -> None:
        if self._registry.left <= self._at:
            raise Preempted


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "BEAT_SECONDS", 0.0)


def test_what_it_was_started_for_may_be_dropped_and_another_come():
    """Started with no chat template it would refuse the other one, and every one after that."""
    registry: Any = Registry(3)
    stopping: Any = SimpleNamespace(check=lambda: None)
    assert main.first_wanted(registry, stopping) == {"serve-1": "an adapter"}


def test_meanwhile_it_can_be_stopped():
    registry: Any = Registry(99)
    stopping: Any = Stopping(registry, 95)
    with pytest.raises(Preempted):
        main.first_wanted(registry, stopping)
