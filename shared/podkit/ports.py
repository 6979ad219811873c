"""What a pod needs of the platform, and how it opens it: by the environment that the cluster gives it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence

import msgspec

from events.envelope import Event
from shared.ports.artifacts import Artifacts
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.settings import Settings, from_environment


class PodPorts(msgspec.Struct, frozen=True, kw_only=True):
    """publish: durable when it returns, as `Bus.publish`."""

    artifacts: Artifacts
    publish: Callable[[Sequence[Event]], None]
    settings: Settings
    clock: Clock
    store: Store


def open_ports() -> PodPorts:
    """The ports of the profile this pod runs in. Raises SettingsError."""
    settings = from_environment()
    opened = importlib.import_module("shared.profiles").open_ports(settings)
    return PodPorts(
        artifacts=opened.artifacts,
        publish=opened.bus.publish,
        settings=settings,
        clock=opened.clock,
        store=opened.store,
    )
