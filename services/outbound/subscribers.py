"""Who asked to be told of what. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from events.catalog import definitions

ALL = "*"
MOST_URL = 2000


def wants(subscriber: Mapping[str, Any], name: str) -> bool:
    """Whether events of this name were asked for. subscriber: data of its record."""
    return ALL in subscriber["events"] or name in subscriber["events"]


def may_hear(subscriber: Mapping[str, Any], tenant: str) -> bool:
    """Whether what is this tenant's may be told; what is nobody's is told only to those who may hear all."""
    return ALL in subscriber["tenants"] or (bool(tenant) and tenant in subscriber["tenants"])


def faults(url: str, events: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    """All that is wrong with a subscription, a line each. known: names of events that are ever told."""
    found = _url_faults(url)
    unknown = [name for name in events if name != ALL and name not in known]
    untold = [name for name in unknown if name in definitions()]
    if untold:
        found.append(
            f"events {', '.join(untold)} are told to nobody: they come too often; ask the API for them"
        )
    strange = [name for name in unknown if name not in definitions()]
    if strange:
        found.append(
            f"no events are called {', '.join(strange)}; there are {', '.join(known)}, and * for all"
        )
    return found


def _url_faults(url: str) -> list[str]:
    if len(url) > MOST_URL or any(not 32 < ord(letter) < 127 for letter in url):
        return ["the URL must be at most 2000 printable ASCII characters without spaces"]
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [f"{url!r} is no URL: {error}"]
    found = []
    if parts.scheme not in ("https", "http") or not parts.hostname:
        found.append(f"{url!r} is no https:// URL with a host")
    if parts.username is not None:
        found.append("the URL holds a user or password; deliveries are signed instead")
    if parts.fragment:
        found.append("the URL has a fragment (#…), which is never sent")
    return found
