"""A person has approved the release of a model version, as it is: these weights, this card.

said by: people, through console or CLI · heard by: registration, deployment, outbound · subject: models/<key>
"""

from __future__ import annotations

import msgspec

NAME = "model-approved"


class ModelApproved(msgspec.Struct, frozen=True, kw_only=True):
    """who, role: the person and the hat they wore. The digests bind the word to what was seen."""

    model_id: str
    version: str
    who: str
    role: str
    manifest_digest: str
    card_digest: str
    reason: str = ""
