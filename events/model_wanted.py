"""A request came for a version whose engine sleeps.

said by: the gateway · heard by: deployment · subject: releases/<model_id>

Its id follows from the sleeping engine and a window of time: many requests, and many gateways, say it once.
"""

from __future__ import annotations

import msgspec

NAME = "model-wanted"


class ModelWanted(msgspec.Struct, frozen=True, kw_only=True):
    """release: the engine that sleeps, by its name in the cluster; of any other start nothing follows."""

    model_id: str
    version: str
    release: str
