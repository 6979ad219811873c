"""A person has rejected the release of a model version, as it is: these weights, this card.

said by: people, through console or CLI
heard by: registration, deployment, status, outbound · subject: models/<key>
"""

from __future__ import annotations

import msgspec

NAME = "model-rejected"


class ModelRejected(msgspec.Struct, frozen=True, kw_only=True):
    """who, role: the person and the hat they wore. The digests bind the word to what was seen."""

    model_id: str
    version: str
    who: str
    role: str
    manifest_digest: str
    card_digest: str
    reason: str = ""
