"""A moment that deployment had set itself has come.

said by: deployment · heard by: deployment · subject: releases/<model_id>
"""

from __future__ import annotations

from typing import Literal

import msgspec

NAME = "release-due"


class ReleaseDue(msgspec.Struct, frozen=True, kw_only=True):
    """what: the end of a canary's step, of the time that a replaced engine is kept, of idleness that is borne.

    mark: what it was set for; where that is over, nothing follows.
    """

    model_id: str
    version: str
    what: Literal["step", "keep", "idle"]
    mark: str
