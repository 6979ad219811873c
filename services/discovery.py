"""Finds the event services: a new service is one new folder that exports SERVICE."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

import services
from shared.service import Service


def discover() -> Mapping[str, Service]:
    """All event services by name. Raises TypeError where a folder's SERVICE has another name than the folder."""
    found: dict[str, Service] = {}
    for module in pkgutil.iter_modules(services.__path__):
        if not module.ispkg:
            continue
        service = getattr(importlib.import_module(f"services.{module.name}"), "SERVICE", None)
        if service is None:
            continue  # gateway, console and cli hear no events
        if service.name != module.name:
            raise TypeError(f"services/{module.name} exports a SERVICE called {service.name!r}")
        found[module.name] = service
    return found
