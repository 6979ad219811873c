"""The model card of a version is written.

said by: cards · heard by: registration, deployment, outbound · subject: models/<key>
"""

from __future__ import annotations

import msgspec

from events.parts import ModelVersion

NAME = "card-rendered"


class CardRendered(msgspec.Struct, frozen=True, kw_only=True):
    """markdown / document: paths in the artifact store. digest: `sha256:<hex>` of the Markdown.

    completeness: share of the card's fields that are filled, 0 to 1. missing: names of those that are not.
    """

    model: ModelVersion
    manifest_digest: str
    markdown: str
    document: str
    digest: str
    completeness: float
    missing: tuple[str, ...] = ()
