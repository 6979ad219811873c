"""What the gateway says: figures of a window, and that a sleeping model is wanted; beside the requests."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events.catalog import encode, name_of
from events.envelope import Event
from events.model_wanted import ModelWanted
from services.gateway.ports import Directory, Target
from services.gateway.traffic import Traffic
from shared.errors import KuzniaError
from shared.identity import event_id
from shared.ports.clock import Clock

logger = logging.getLogger(__name__)
SOURCE = "/kuznia/gateway"
REPORT_EVERY = 1.0
WANTED_EVERY = 10.0
MOST_WAITING = 1000
Publish = Callable[[Sequence[Event]], None]


class Voice:
    """publish: makes events durable, and may block; it runs on a thread of its own. None: nobody listens.

    What the bus does not take now is said again, under the same id; figures that wait too long are dropped.
    """

    def __init__(self, publish: Publish | None, directory: Directory, traffic: Traffic, clock: Clock) -> None:
        self.traffic = traffic
        self._publish = publish
        self._directory = directory
        self._clock = clock
        self._pending: deque[Event] = deque(maxlen=MOST_WAITING)
        self._wanted: dict[str, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gateway-voice")

    async def report(self) -> None:
        """Say the figures of every window, until cancelled."""
        while True:
            await asyncio.sleep(REPORT_EVERY)
            await self.report_now()

    async def report_now(self) -> None:
        """Say what is to be said by now."""
        now = self._clock.now()
        for measured in self.traffic.collect(self._directory.snapshot(), now):
            number = f"{measured.mark}/{measured.since.timestamp():.3f}"
            self._pending.append(self._event(measured, f"{measured.gateway}/{measured.model_id}", number))
        events = list(self._pending)
        if events and await self._said(events):
            for _ in events:
                self._pending.popleft()

    async def want(self, target: Target) -> None:
        """Say that a sleeping version is wanted: once for each window of time, by however many requests."""
        window = int(self._clock.now().timestamp() // WANTED_EVERY)
        release = target.placement.release
        mark = f"{release}/{window}"
        if self._wanted.get(target.name) == mark:
            return
        self._wanted[target.name] = mark
        said = False
        wanted = ModelWanted(model_id=target.route.model_id, version=target.version, release=release)
        try:
            said = await self._said([self._event(wanted, target.name, mark)])
        finally:  # its client may go before the word is out: then another one says it
            if not said:
                self._wanted.pop(target.name, None)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _said(self, events: Sequence[Event]) -> bool:
        if self._publish is None:
            return True
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._publish, events)
        except KuzniaError as error:
            logger.warning("%s is not said yet, the bus does not take it: %s", events[0].name, error)
            return False
        return True

    def _event(self, payload: Any, cause: str, mark: str) -> Event:
        name = name_of(payload)
        return Event(
            id=event_id(cause, name, mark),
            name=name,
            source=SOURCE,
            subject=f"releases/{payload.model_id}",
            time=self._clock.now(),
            data=encode(payload),
        )
