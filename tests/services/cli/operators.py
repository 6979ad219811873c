"""Fixtures of the operators' commands: a home in which a model went the whole way, found by KUZNIA_HOME."""

from __future__ import annotations

import pytest

from tests.shared.operations.conftest import forged, home
from tests.shared.operations.home import Home, set_home

__all__ = ["forge", "forged", "home"]


@pytest.fixture
def forge(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    set_home(home.path, monkeypatch)
    return home
