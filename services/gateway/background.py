"""What runs beside the requests, from the server's start to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from services.gateway.audit import Audit
from services.gateway.metrics import Metrics
from services.gateway.ports import Directory
from services.gateway.reply import Receive, Send
from services.gateway.upstream import Upstreams
from services.gateway.voice import Voice

logger = logging.getLogger(__name__)
SWEEP_EVERY = 1.0


class Background:
    """Keeps the directory fresh, closes idle connections, writes the audit log, says what is to be said."""

    def __init__(
        self, directory: Directory, upstreams: Upstreams, metrics: Metrics, audit: Audit, voice: Voice
    ) -> None:
        self.metrics = metrics
        self.audit = audit
        self.voice = voice
        self._directory = directory
        self._upstreams = upstreams
        self._running = False

    @property
    def ready(self) -> bool:
        """Whether requests may come."""
        return self._running and self._directory.loaded

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """The ASGI lifespan: start, wait for the end, stop."""
        await receive()
        try:
            self.audit.start()
        except OSError as error:
            await send(
                {"type": "lifespan.startup.failed", "message": f"no audit log, so no gateway: {error}"}
            )
            return
        await self._directory.refresh_now()
        work = (self._directory.watch, self._sweep, self.voice.report)
        tasks = [asyncio.create_task(_kept(each)) for each in work]
        self._running = True
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop(tasks)
        await send({"type": "lifespan.shutdown.complete"})

    async def _stop(self, tasks: list[asyncio.Task[None]]) -> None:
        self._running = False
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self.voice.report_now()
        await asyncio.to_thread(self.voice.close)
        self._upstreams.close()
        await asyncio.to_thread(self._directory.close)
        await asyncio.to_thread(self.audit.stop)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self._upstreams.sweep()


async def _kept(work: Callable[[], Awaitable[None]]) -> None:
    """Run it for ever: one that dies is told of and started again, never silently missing."""
    while True:
        task = asyncio.ensure_future(work())
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
        logger.error("%s ended and is started again", work.__qualname__, exc_info=task.exception())
        await asyncio.sleep(SWEEP_EVERY)
