"""Hears what changes, and tends what changed: list, watch, and list again where the watch has a gap."""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from shared.errors import KuzniaError
from shared.kubernetes.api import Absent, Api, Gone, Object
from shared.kubernetes.kinds import CONFIG_MAP, DEPLOYMENT, JOB, JOB_SET, POD, WORKFLOW, Kind
from shared.kubernetes.ledger import OPEN, STATE, WORKLOAD
from shared.kubernetes.settings import KubernetesSettings

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_ABSENT_PAUSE = 300.0  # until a cluster is asked again for a kind that it does not know
_RESYNC_SECONDS = 60.0
_EXPIRE_SECONDS = 3600.0


class Agenda:
    """Names, each with the time of its next look. Any thread adds, one takes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._closed = False

    def add(self, name: str, seconds: float = 0) -> None:
        """Look at it after so many seconds at the latest."""
        at = time.monotonic() + seconds
        with self._changed:
            if at < self._due.get(name, math.inf):
                self._due[name] = at
                heapq.heappush(self._heap, (at, name))
                self._changed.notify()

    def close(self) -> None:
        """Nobody waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, seconds: float) -> str | None:
        """The next one that is due, or None where none is within so many seconds, or after `close`."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closed:
                while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                    heapq.heappop(self._heap)
                now = time.monotonic()
                if self._heap and self._heap[0][0] <= now:
                    _, name = heapq.heappop(self._heap)
                    del self._due[name]
                    return name
                wait = min(until, self._heap[0][0] if self._heap else until) - now
                if wait <= 0 and now >= until:
                    return None
                self._changed.wait(max(wait, 0))
            return None


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What is listened to. optional: a cluster need not know the kind."""

    kind: Kind
    labels: str = WORKLOAD
    namespace: str = ""
    optional: bool = False


def pause_after(heard: Heard, error: KuzniaError, before: float) -> float:
    """Seconds until it is listened to again. before: how long the pause before this one was."""
    if heard.optional and isinstance(error, Absent):
        return _ABSENT_PAUSE
    if isinstance(
        error, Gone
    ):  # a list closes the gap; a server that says so each time is not asked all the time
        return _FIRST_PAUSE
    return min(before * 2, _LONGEST_PAUSE)


class Watch:
    """tend: looks at one by name, and says after how many seconds to look again. all_open: names to begin with.
    expire: forgets what is old enough.
    """

    def __init__(
        self,
        api: Api,
        settings: KubernetesSettings,
        tend: Callable[[str], float | None],
        all_open: Callable[[], Sequence[str]],
        expire: Callable[[], int],
    ) -> None:
        self._api = api
        self._settings = settings
        self._tend = tend
        self._all_open = all_open
        self._expire = expire
        self._agenda = Agenda()
        self._closing = threading.Event()
        self._pauses: dict[str, float] = {}
        self._threads = [
            threading.Thread(
                target=self._listen, args=(heard,), name=f"watch-{heard.kind.plural}", daemon=True
            )
            for heard in self._heard()
        ]
        self._threads.append(threading.Thread(target=self._run, name="cluster", daemon=True))

    @property
    def running(self) -> bool:
        """False before `start`, after `close`, and if a thread has died of a fault of ours."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def look_at(self, name: str) -> None:
        """Soon."""
        self._agenda.add(name)

    def close(self) -> None:
        """End the threads; the API is closed with them, for it is what they wait for."""
        self._closing.set()
        self._agenda.close()
        self._api.close()
        for thread in self._threads:
            thread.join()

    def _heard(self) -> Sequence[Heard]:
        own = Heard(kind=CONFIG_MAP, labels=f"{STATE}={OPEN}", namespace=self._settings.platform_namespace)
        always = [own, Heard(kind=POD), Heard(kind=DEPLOYMENT)]
        if self._settings.orchestrator == "argo":
            return [*always, Heard(kind=WORKFLOW)]
        return [*always, Heard(kind=JOB), Heard(kind=JOB_SET, optional=True)]

    def _run(self) -> None:
        looked = expired = -math.inf
        while not self._closing.is_set():
            if time.monotonic() - looked >= _RESYNC_SECONDS and self._resync():
                looked = time.monotonic()
            if time.monotonic() - expired >= _EXPIRE_SECONDS:
                expired = time.monotonic()
                self._forget_the_old()
            name = self._agenda.take(0.5)
            if name is not None:
                self._look(name)

    def _forget_the_old(self) -> None:
        try:
            self._expire()
        except KuzniaError as error:
            _LOG.warning("what is old cannot be forgotten: %s; trying again in an hour", error)

    def _resync(self) -> bool:
        try:
            for name in self._all_open():
                self._agenda.add(name)
        except KuzniaError as error:
            _LOG.warning("what is open cannot be listed: %s; trying again", error)
            self._closing.wait(_FIRST_PAUSE)
            return False
        return True

    def _look(self, name: str) -> None:
        """A fault of one workload holds up nobody else, and it is tried again."""
        try:
            pause = self._tend(name)
        except KuzniaError as error:
            if self._closing.is_set():
                return
            _LOG.warning("workload %s: %s; trying again", name, error)
            pause = min(self._pauses.get(name, _FIRST_PAUSE / 2) * 2, _LONGEST_PAUSE)
            self._pauses[name] = pause
        else:
            self._pauses.pop(name, None)
        if pause is not None:
            self._agenda.add(name, pause)

    def _listen(self, heard: Heard) -> None:
        """Until it is closed. What fails again and again is tried after longer pauses, each time anew."""
        pause = _FIRST_PAUSE / 2
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._hear(heard)
            except KuzniaError as error:
                heard_for = time.monotonic() - began
                pause = pause_after(heard, error, _FIRST_PAUSE / 2 if heard_for > _LONGEST_PAUSE else pause)
                if not self._closing.is_set():
                    level = logging.INFO if isinstance(error, Gone | Absent) else logging.WARNING
                    _LOG.log(level, "watch of %s: %s; again in %g s", heard.kind.plural, error, pause)
                self._closing.wait(pause)

    def _hear(self, heard: Heard) -> None:
        """List, then watch on and on; returns only when closing. Raises what the API raises."""
        listed = self._api.list(heard.kind, heard.namespace, heard.labels)
        revision, seconds = listed.revision, self._settings.watch_seconds
        for item in listed.items:
            self._noted(item)
        while not self._closing.is_set():
            for change, obj in self._api.watch(heard.kind, revision, heard.labels, seconds, heard.namespace):
                revision = str(obj["metadata"]["resourceVersion"])
                if change != "BOOKMARK":
                    self._noted(obj)

    def _noted(self, obj: Object) -> None:
        name = (obj["metadata"].get("labels") or {}).get(WORKLOAD)
        if name:
            self._agenda.add(name)
