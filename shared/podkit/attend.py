"""Beside an engine from its start to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from shared.forge.process import Running
from shared.podkit.causes import TAIL_LINES, explain
from shared.podkit.echo import Echo
from shared.podkit.stopping import Stopping
from shared.podkit.tail import last_lines

BEAT_SECONDS = 0.5


def attend(
    running: Running,
    stopping: Stopping,
    log: Path,
    beat: Callable[[], None] = lambda: None,
    every: float = BEAT_SECONDS,
) -> int:
    """Pass on SIGTERM and the log, call `beat` every so many seconds; the exit code to end with. Raises Lost.

    The engine's own code, 128 and the number of the signal that killed it, or 0 after a stop on request.
    """
    stopping.forward(running.terminate)
    echo, code = Echo(log), None
    try:
        while code is None:
            code = running.wait(every)
            echo.follow()
            beat()
            if stopping.overdue:
                running.kill()
    finally:
        running.kill()
    if stopping.asked:
        return 0  # however the engine took it: that is what was asked for
    if code:
        sys.stdout.write(explain(code, last_lines(log, 3 * TAIL_LINES)) + "\n")
    return code if code >= 0 else 128 - code
