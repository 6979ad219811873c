"""A push becomes a model that answers: the whole chain, with real processes, on the stand-in trainer."""

from __future__ import annotations

import pytest

from tests.integration.installation import Installation
from tests.integration.repository import Repository, model_id

pytestmark = pytest.mark.slow


def test_a_push_becomes_a_model_that_answers(installation: Installation, repository: Repository) -> None:
    installation.up()
    run = repository.send()
    installation.wait_status(f"models/{model_id()}@1.0.0", "DEPLOYED")
    assert installation.record(f"runs/{run}").status == "SUCCEEDED"
