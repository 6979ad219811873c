"""Named places to die at: how the tests kill the platform before and after each of its port calls."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Mapping

from shared.hosts.driver import Observer, unobserved

VARIABLE = "KUZNIA_KILL_AT"


def killer(environ: Mapping[str, str]) -> Observer:
    """An observer that ends this process with SIGKILL at the n-th passing of a point.

    KUZNIA_KILL_AT is `<point>:<n>`, such as `after-commit:3`; unset, as ever outside tests, nothing happens.
    """
    if not environ.get(VARIABLE):
        return unobserved
    point, _, count = environ[VARIABLE].partition(":")
    passed: Counter[str] = Counter()

    def observe(here: str) -> None:
        passed[here] += 1
        if here == point and passed[here] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    return observe
