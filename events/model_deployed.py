"""A model version answers behind the gateway.

said by: deployment · heard by: registration, gateway, status, outbound · subject: models/<key>
"""

from __future__ import annotations

import msgspec

NAME = "model-deployed"


class ModelDeployed(msgspec.Struct, frozen=True, kw_only=True):
    """release: its name in the cluster. replaced: the version that stood there before, empty if none.

    switch: counts deployment's words about who is live, so that an older one that comes late is known as such.
    """

    model_id: str
    version: str
    release: str
    manifest_digest: str
    card_digest: str
    replaced: str = ""
    reason: str = ""
    switch: int = 0
