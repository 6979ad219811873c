"""Which start of a run this is."""

from __future__ import annotations

import os
from collections.abc import Mapping

from shared.podkit import document as documents
from shared.podkit.patience import Patience
from shared.ports.artifacts import Artifacts

INSTANCE = "KUZNIA_INSTANCE"  # a name that no other start has
RESTARTS = "KUZNIA_RESTARTS"  # counted from 0


def attempt(artifacts: Artifacts, prefix: str, environ: Mapping[str, str] = os.environ) -> int:
    """As the cluster counts it; where it counts nothing, each start leaves its name in the store. From 1.

    Raises Reject where the cluster's number is none, Retry where the store does not answer.
    """
    restarts = environ.get(RESTARTS, "")
    if restarts.isdecimal():
        return int(restarts) + 1
    instance = environ.get(INSTANCE, "")
    if environ.get("KUZNIA_ATTEMPT") or not instance:
        return documents.attempt(environ)
    return Patience().insist(
        "counting the starts", lambda: _counted(artifacts, f"{prefix}/attempts/", instance)
    )


def _counted(artifacts: Artifacts, place: str, instance: str) -> int:
    known = {name: int(number) for number, _, name in _names(artifacts, place) if number.isdecimal()}
    if instance not in known:
        known[instance] = max(known.values(), default=0) + 1
        artifacts.write(f"{place}{known[instance]:04}-{instance}", b"")
    return known[instance]


def _names(artifacts: Artifacts, place: str) -> list[tuple[str, str, str]]:
    return [path.removeprefix(place).partition("-") for path in artifacts.list(place)]
