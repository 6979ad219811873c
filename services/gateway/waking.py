"""Requests for a model that sleeps: they wait within a bound while it starts, or are told how far it is."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from datetime import datetime

from services.gateway.errors import ApiError, StartingError
from services.gateway.options import Options
from services.gateway.ports import Directory, Target
from services.gateway.voice import Voice
from shared.ports.clock import Clock

LOOK_EVERY = 0.1
LONGEST_RETRY = 120


class Waking:
    """Many requests wait for one start; each of them has its place, or is told at once that there is none."""

    def __init__(self, directory: Directory, voice: Voice, clock: Clock, options: Options) -> None:
        self.directory = directory
        self.options = options
        self.waiting: Counter[str] = Counter()  # by tenant
        self._voice = voice
        self._clock = clock

    async def until_awake(self, target: Target, deadline: float) -> None:
        """Ask for it and wait until it does not sleep any more, at most until that moment of the loop.

        Raises StartingError, a 503 that tells how far it is.
        """
        loop, tenant = asyncio.get_running_loop(), target.route.tenant
        full = self._full(tenant)
        self.waiting[tenant] += 1
        try:
            while (now := self._now(target)) is not None:
                if now.placement.state == "asleep":
                    await self._voice.want(now)
                if full or loop.time() >= deadline:
                    raise self._starting(now)
                await asyncio.sleep(min(LOOK_EVERY, max(0.0, deadline - loop.time())))
        finally:
            self.waiting[tenant] -= 1

    def _full(self, tenant: str) -> bool:
        """One tenant's crowd leaves room for the others."""
        most = self.options
        return self.waiting.total() >= most.waiting or self.waiting[tenant] >= most.waiting_each

    def _now(self, target: Target) -> Target | None:
        """The same version as it stands now; None where it is not on its way any more."""
        route = self.directory.snapshot().routes.get(target.route.model_id)
        if route is None or target.version not in route.versions:
            return None
        found = Target(route, target.version)
        return found if found.coming else None

    def _starting(self, target: Target) -> ApiError:
        placement = target.placement
        seconds = self._since(placement.since)
        left = placement.took - seconds if placement.state == "starting" else placement.took
        retry_after = max(self.options.retry_after, min(LONGEST_RETRY, math.ceil(left)))
        progress = {
            "model": target.name,
            "state": placement.state,
            "seconds": round(seconds, 1),
            "expected_seconds": round(placement.took, 1) or None,
        }
        return StartingError(f"The model {target.name!r} is starting.", retry_after, progress)

    def _since(self, moment: str) -> float:
        if not moment:
            return 0.0
        return max(0.0, (self._clock.now() - datetime.fromisoformat(moment)).total_seconds())
