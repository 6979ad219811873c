"""Thirty kills at random moments: nothing lost, nothing done twice. `make torture KILLS=n` does more of it."""

from __future__ import annotations

import pytest

from tests.integration.installation import Installation
from tests.integration.repository import Repository
from tests.integration.torture import torture

pytestmark = pytest.mark.slow


def test_thirty_kills(installation: Installation, repository: Repository) -> None:
    tally = torture(installation, repository, kills=30, seed=1)
    print(tally)
    assert (tally.lost, tally.doubled) == ([], []), installation.story()
    assert tally.pushes >= 5, "hardly anything was at stake"
