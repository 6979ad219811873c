"""The thread that keeps workloads running as they should: waits, looks, acts, and says what changed."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from events.envelope import Event
from shared.errors import KuzniaError
from shared.local.cluster.around import Around, Look
from shared.local.cluster.layout import Layout
from shared.local.cluster.waits import Waits
from shared.local.cluster.watched import Watched
from shared.ports.clock import Clock

_LOG = logging.getLogger(__name__)
_TROUBLE_SECONDS = 1.0
_KILL_SECONDS = 10.0  # after the grace; what then still runs is found again by the next platform


class Supervisor:
    """Owns the workloads that are not finished, or of which something is still to be said."""

    def __init__(
        self, publish: Callable[[Sequence[Event]], None], environment: Mapping[str, str], clock: Clock
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._waits = Waits()
        self._around = Around(environment=dict(environment), waits=self._waits, taken=self._addresses)
        self._watched: dict[str, Watched] = {}
        self._new: deque[Layout] = deque()
        self._lock = threading.Lock()  # over the two above, which other threads ask about
        self._closing = threading.Event()
        self._suspending = False
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    @property
    def running(self) -> bool:
        """False before `start`, after `close`, and if the thread has died of a fault of ours."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def watch(self, layout: Layout) -> None:
        """Look after this workload from now on; one that is watched already is looked at again."""
        with self._lock:
            self._new.append(layout)
        self._waits.wake()

    def holds(self, name: str) -> bool:
        """Whether it is not finished yet, or not everything was said of it."""
        with self._lock:
            return name in self._watched or any(layout.name == name for layout in self._new)

    def close(self, *, suspend: bool) -> None:
        """End the thread. suspend: end the processes first, which takes as long as the longest grace."""
        self._suspending = suspend
        self._closing.set()
        self._waits.wake()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._waits.wait(self._pass(Look(self._clock.now())))
            if self._suspending:
                self._suspend()
        finally:
            for watched in self._watched.values():
                watched.release()
            self._waits.close()

    def _suspend(self) -> None:
        watched = list(self._watched.values())
        for each in watched:
            each.suspend(self._clock.now())
        longest = max((each.workload.limits.grace_seconds for each in watched), default=0)
        until = time.monotonic() + longest + _KILL_SECONDS
        pause = self._pass(Look(self._clock.now(), closing=True))
        while any(each.under_way for each in watched) and time.monotonic() < until:
            self._waits.wait(pause)
            pause = self._pass(Look(self._clock.now(), closing=True))

    def _pass(self, look: Look) -> float | None:
        """Look once after everything. Returns the seconds until the next look is due; None: nothing is."""
        self._take_new()
        pauses = [self._tend(watched, look) for watched in list(self._watched.values())]
        return min((pause for pause in pauses if pause is not None), default=None)

    def _tend(self, watched: Watched, look: Look) -> float | None:
        """A fault of one workload, such as a full disk, holds up nobody else, and it is tried again."""
        try:
            pause = watched.step(look)
            watched.say(self._publish)
        except (KuzniaError, OSError) as error:
            _LOG.warning("workload %s: %s; trying again", watched.layout.name, error)
            return _TROUBLE_SECONDS
        if watched.finished:
            watched.release()
            with self._lock:
                del self._watched[watched.layout.name]
        return pause

    def _take_new(self) -> None:
        with self._lock:
            while self._new:
                layout = self._new.popleft()
                if layout.name not in self._watched:
                    self._take(layout)

    def _take(self, layout: Layout) -> None:
        try:
            self._watched[layout.name] = Watched(layout, self._around)
        except FileNotFoundError:
            _LOG.info("workload %s was forgotten before it was looked at", layout.name)
        except (OSError, msgspec.MsgspecError) as error:
            _LOG.error("workload %s cannot be read: %s; mend or remove %s", layout.name, error, layout.path)

    def _addresses(self) -> list[str]:
        return [watched.state.address for watched in self._watched.values()]
