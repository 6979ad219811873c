"""The registry asks for nothing but that events be said."""

from __future__ import annotations

from collections.abc import Mapping

from shared.service import Effect, Ports


def effects(_ports: Ports) -> Mapping[str, Effect]:
    """None."""
    return {}
