"""What a run may use has changed: a slot is free for it, or a quota was set that concerns it.

said by: training, quotas · heard by: training · subject: runs/<run_id>
"""

from __future__ import annotations

import msgspec

NAME = "capacity-changed"


class CapacityChanged(msgspec.Struct, frozen=True, kw_only=True):
    """It promises nothing: who waits asks again, and who trains looks at what is left of its hours."""

    run_id: str
    why: str
