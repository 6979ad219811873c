"""What follows from a quota that was set: it holds, and whom it concerns is told. Pure."""

from __future__ import annotations

from datetime import datetime

from events.catalog import decode
from events.envelope import Event
from events.quota_set import QuotaSet
from shared.errors import Reject
from shared.record import Record
from shared.service import Decision, Wish

INSTALLATION = "_all"  # no tenant is called so


def key(event: Event) -> str | None:
    """`quotas/<tenant>`; `quotas/_all` for the installation."""
    return f"quotas/{event.data['tenant'] or INSTALLATION}"


def decide(record: Record, event: Event, now: datetime) -> Decision | None:
    """The last one set holds; who set which stays. Raises Reject on what no quota can be."""
    quota: QuotaSet = decode(event)
    if (quota.runs or 0) < 0 or not 0 <= (quota.gpu_hours or 0) < float("inf"):
        raise Reject(f"{record.key}: neither runs nor hours can be less than none")
    limits = {"runs": quota.runs, "gpu_hours": quota.gpu_hours, "high": quota.high}
    entry = {**limits, "by": quota.by, "reason": quota.reason, "at": now.isoformat()}
    data = {"tenant": quota.tenant, **limits, "history": [*record.data.get("history", []), entry]}
    return Decision(
        status="SET", data=data, wishes=(Wish("offer", {"tenant": quota.tenant, "by": quota.by}),)
    )
