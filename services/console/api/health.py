"""Whether we live, whether we are ready, and what we are."""

from __future__ import annotations

import platform
from importlib import metadata

from fastapi import APIRouter

from services.console.desk import Desk
from services.console.ports import ConsolePorts
from services.console.schemas.common import Ready, Version
from shared.ports.bus import Query

NAME = "kuznia"
API = "v1"


class HealthApi:
    """For probes and people."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> APIRouter:
        """Its routes."""
        health = APIRouter(tags=["health"])
        health.get("/healthz", summary="Alive", response_model=Ready)(self.healthz)
        health.get("/readyz", summary="Ready", response_model=Ready)(self.readyz)
        health.get("/version", summary="Version", response_model=Version)(self.version)
        return health

    async def healthz(self) -> Ready:
        """The process answers."""
        return Ready(status="ok")

    async def readyz(self) -> Ready:
        """Store and log answer; 503 with the cause where they do not."""
        await self._desk.ask(_probe)
        return Ready(status="ok")

    async def version(self) -> Version:
        """Platform, API and Python."""
        return Version(name=NAME, version=metadata.version(NAME), api=API, python=platform.python_version())


def _probe(ports: ConsolePorts) -> None:
    ports.store.list("models", limit=1)
    ports.bus.log(Query(limit=1))
