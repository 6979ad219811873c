"""What becomes of a delivery after an attempt: delivered, later again, or given up. Pure.

The pauses follow Standard Webhooks' advice, over about three days. What spreads them is drawn from the delivery's
name, so that deliveries that failed together do not come back together, and a replayed world is the same world.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

import msgspec

from shared.record import Record

PAUSES = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)  # seconds
SPREAD = 0.2
LONGEST_PAUSE = 86400.0
KEPT_ATTEMPTS = 30
GONE = 410


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Of one attempt. status: HTTP, 0 where there was no answer. error: why there was none, or why it failed.

    seconds: how long it took. retry_after: seconds the receiver asks for. hopeless: trying again cannot help.
    """

    status: int = 0
    seconds: float = 0
    error: str = ""
    retry_after: float | None = None
    hopeless: bool = False

    @property
    def delivered(self) -> bool:
        """Any 2xx."""
        return 200 <= self.status < 300


def after(delivery: Record, result: Result, now: datetime) -> Record:
    """The delivery's record as it is to be written."""
    tries = int(delivery.data["tries"]) + 1
    attempt = {
        "at": now.isoformat(),
        "status": result.status,
        "milliseconds": round(result.seconds * 1000),
        "error": result.error,
    }
    data: dict[str, Any] = {
        **delivery.data,
        "tries": tries,
        "attempts": [*delivery.data["attempts"], attempt][-KEPT_ATTEMPTS:],
    }
    data.pop("due", None)
    status = _status(result, tries)
    if status == "WAITING":
        data["due"] = (now + timedelta(seconds=pause(delivery.key, tries, result))).isoformat()
    return msgspec.structs.replace(delivery, status=status, data=data, updated_at=now)


def pause(key: str, tries: int, result: Result) -> float:
    """Seconds until the next attempt after so many; never shorter than the receiver asks, up to a day."""
    drawn = int.from_bytes(hashlib.sha256(f"{key}/{tries}".encode()).digest()[:4]) / 2**32
    spread = PAUSES[tries - 1] * (1 - SPREAD + 2 * SPREAD * drawn)
    return max(spread, min(result.retry_after or 0.0, LONGEST_PAUSE))


def due(delivery: Record, now: datetime) -> bool:
    """Whether it is to be posted now."""
    if delivery.status == "PENDING":
        return True
    return delivery.status == "WAITING" and datetime.fromisoformat(delivery.data["due"]) <= now


def again(delivery: Record, now: datetime) -> Record:
    """The record as an operator's redelivery wants it: due at once, its tries counted anew, its log kept."""
    data = {**delivery.data, "tries": 0}
    data.pop("due", None)
    return msgspec.structs.replace(delivery, status="PENDING", data=data, updated_at=now)


def _status(result: Result, tries: int) -> str:
    if result.delivered:
        return "DELIVERED"
    if result.hopeless or result.status == GONE or tries > len(PAUSES):
        return "FAILED"
    return "WAITING"
