"""An engine has had nothing to carry for a while.

said by: engines · heard by: engines · subject: engines/<engine>
"""

from __future__ import annotations

import msgspec

NAME = "engine-idle"


class EngineIdle(msgspec.Struct, frozen=True, kw_only=True):
    """emptied: how often its last adapter had left it when the while began; of any other nothing follows."""

    engine: str
    emptied: int
