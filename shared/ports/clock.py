"""Time, as something that can be replaced."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time in UTC; the only source of `now`."""

    def now(self) -> datetime: ...
