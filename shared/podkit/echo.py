"""The trainer's output into the pod's own log, without progress bars and narration."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from shared.podkit.tail import Tail

_NOISE = re.compile(r"\r|^\s*$|it/s|s/it|^\[INFO\|")


class Echo:
    """Follows a file from its start."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)

    def follow(self) -> None:
        """Print what came since the last call."""
        for line in self._tail.lines():
            if not _NOISE.search(line):
                sys.stdout.write(line + "\n")
        sys.stdout.flush()
