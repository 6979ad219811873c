"""A web server for tests: as in production, but for its end, which comes at once."""

from __future__ import annotations

import asyncio

import uvicorn

TICK_SECONDS = 0.01  # uvicorn's own is ten times that: each test would wait for it


class PromptServer(uvicorn.Server):
    """Notices `should_exit` sooner."""

    async def main_loop(self) -> None:
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            await asyncio.sleep(TICK_SECONDS)
