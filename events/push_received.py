"""A push reached us, verified, and is now durable.

said by: webhook's front door, the local Git hook, the reconciler that looks for missed deliveries
heard by: webhook, outbound · subject: branches/<repository>/<branch>
"""

from __future__ import annotations

import msgspec

NAME = "push-received"


class PushReceived(msgspec.Struct, frozen=True, kw_only=True):
    """before / after: commit ids, forty zeros where a branch begins or ends. delivery: the forge's own id."""

    repository: str
    url: str
    branch: str
    before: str
    after: str
    delivery: str
    forge: str = "github"
    pusher: str = ""
