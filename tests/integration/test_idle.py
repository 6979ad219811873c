"""What a platform costs that has nothing to do: less than 150 MB, and less than 2 % of a CPU."""

from __future__ import annotations

import time

import pytest

from tests.integration import ends, processes
from tests.integration.ends import Sent
from tests.integration.installation import Installation
from tests.integration.repository import Repository

pytestmark = pytest.mark.slow
WINDOW_SECONDS = 8.0
CPU_SHARE, RESIDENT = 0.02, 150e6


def test_idle(installation: Installation, repository: Repository) -> None:
    """After a whole chain, with one engine up, and with the settings that a person has."""
    installation.options["KUZNIA_RECONCILE_SECONDS"] = ""
    installation.up()
    ends.check(installation, Sent(run=repository.send()))
    installation.release()
    began, before = time.monotonic(), processes.cpu_seconds(installation.pid)
    time.sleep(WINDOW_SECONDS)
    share = (processes.cpu_seconds(installation.pid) - before) / (time.monotonic() - began)
    resident = processes.resident(installation.pid)
    print(f"idle platform: {share:.2%} of a CPU, {resident / 1e6:.0f} MB resident")
    assert share < CPU_SHARE
    assert resident < RESIDENT
