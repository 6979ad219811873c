"""A model version is withdrawn from use.

said by: deployment (replaced by a newer one), operators
heard by: registration, gateway, deployment, outbound
subject: models/<key>
"""

from __future__ import annotations

import msgspec

NAME = "model-deprecated"


class ModelDeprecated(msgspec.Struct, frozen=True, kw_only=True):
    """by: `deployment`, or the operator whose wish it was. successor: version that took over, empty if none.

    switch: as in `model-deployed`; 0 where an operator asks, and deployment has not said it yet.
    """

    model_id: str
    version: str
    by: str
    reason: str
    successor: str = ""
    switch: int = 0
