"""What the doctor finds, for Prometheus."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response

from services.console.desk import Desk
from services.console.errors import not_found
from services.console.ports import ConsolePorts

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FRESH_SECONDS = 15.0  # an examination reads much, and a page that anybody may reload must not cost that much


class MetricsApi:
    """`GET /metrics`; examines at most once in FRESH_SECONDS."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._text = ""
        self._until = 0.0

    def router(self) -> APIRouter:
        """Its route."""
        metrics = APIRouter(tags=["health"])
        metrics.get("/metrics", summary="Metrics", response_class=Response)(self.metrics)
        return metrics

    async def metrics(self) -> Response:
        """Gauges in Prometheus text: `kuznia_doctor_findings{check=…}`, zeros too."""
        if time.monotonic() >= self._until:
            self._text = await self._desk.ask(_examined)
            self._until = time.monotonic() + FRESH_SECONDS
        return Response(self._text, media_type=MEDIA_TYPE)


def _examined(ports: ConsolePorts) -> str:
    if ports.metrics is None:
        raise not_found(
            "this console was given nobody to examine the stores",
            where="metrics",
            mend="ask the platform's own console, or run `kuznia doctor --metrics`",
        )
    return ports.metrics()
