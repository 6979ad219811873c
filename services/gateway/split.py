"""Which version a request goes to, where several share a model's requests: by a hash, so without memory.

The same conversation always hashes to the same number, at every gateway. As a canary's share grows, whoever was
with it stays with it.
"""

from __future__ import annotations

import hashlib

from services.gateway.ports import Route

_LARGEST = 2**64


def place(route: Route, key: str) -> float:
    """Where a conversation stands between 0 and 1, evenly spread; another canary spreads anew."""
    digest = hashlib.sha256(f"{route.model_id}\n{route.mark.partition('.')[0]}\n{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _LARGEST


def chosen(route: Route, key: str) -> str:
    """The version for that conversation; the live one for an empty key, and where nothing is shared.

    A canary that does not answer, as far as is known, gets nothing.
    """
    if not route.weights or not key:
        return route.live
    at, below = place(route, key), 0.0
    for name, weight in sorted(route.weights.items()):
        if name == route.live or name not in route.versions or not route.versions[name].serves:
            continue
        below += weight
        if at < below:
            return name
    return route.live
