"""A version's adapter is not needed in its engine any more.

said by: deployment · heard by: engines · subject: engines/<engine>
"""

from __future__ import annotations

import msgspec

NAME = "adapter-dropped"


class AdapterDropped(msgspec.Struct, frozen=True, kw_only=True):
    """release: as `adapter-wanted` named it."""

    engine: str
    release: str
