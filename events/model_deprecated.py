"""A model version is withdrawn from use.

said by: deployment (replaced by a newer one), operators
heard by: registration, gateway, deployment, outbound
subject: models/<key>
"""

from __future__ import annotations

import msgspec

NAME = "model-deprecated"


class ModelDeprecated(msgspec.Struct, frozen=True, kw_only=True):
    """by: `deployment`, or the operator's name. successor: version that took over, empty if none.

    switch: as in `model-deployed`; 0 for an operator's word.
    """

    model_id: str
    version: str
    by: str
    reason: str
    successor: str = ""
    switch: int = 0
