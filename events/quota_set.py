"""An operator sets what a tenant, or the whole installation, may use of the machines.

said by: operators · heard by: quotas, outbound · subject: quotas/<tenant>
"""

from __future__ import annotations

import msgspec

NAME = "quota-set"


class QuotaSet(msgspec.Struct, frozen=True, kw_only=True):
    """The whole quota, in place of the one before. tenant: empty for the installation. by: who set it.

    runs: trainings at once. gpu_hours: of a calendar month (UTC); None is no limit. high: whether its runs may
    have the priority high.
    """

    tenant: str
    by: str
    runs: int | None = None
    gpu_hours: float | None = None
    high: bool = True
    reason: str = ""
