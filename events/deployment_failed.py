"""A model version could not be brought to answer; what answered before still does.

said by: deployment · heard by: registration, console, status, outbound · subject: models/<key>
"""

from __future__ import annotations

import msgspec

NAME = "deployment-failed"


class DeploymentFailed(msgspec.Struct, frozen=True, kw_only=True):
    """cause: for a person: what went wrong, and where to look."""

    model_id: str
    version: str
    release: str
    cause: str
