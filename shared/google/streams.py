"""StreamingPull, supervised: a stream that ends, or falls silent while there is work, is opened again."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any

from google.cloud.pubsub_v1 import SubscriberClient
from google.cloud.pubsub_v1.subscriber.scheduler import Scheduler
from google.cloud.pubsub_v1.types import FlowControl

from shared.google.topics import ACK_SECONDS

log = logging.getLogger("kuznia.google")
LOOK_SECONDS = 1.0  # how soon a stream that ended is noticed
LONGEST_PAUSE = 30.0
CLOSE_SECONDS = 10.0
OUTSTANDING = 100  # messages of one subscription that wait here; the rest waits at Pub/Sub
TRUSTED_SECONDS = 120.0  # for which fresh streams may be silent about what is overdue
LONGEST_HELD = 3600.0  # seconds for which the client keeps a message's lease alive
Callback = Callable[[str, Any], None]  # subscription, message


class _AtOnce(Scheduler):  # type: ignore[misc]
    """Calls back in the stream's own thread: what we do with a message is to note it."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue()

    @property
    def queue(self) -> queue.Queue[Any]:
        """Of the requests (ack, nack) that the client's dispatcher sends off."""
        return self._queue

    def schedule(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Now."""
        callback(*args, **kwargs)

    def shutdown(self, await_msg_callbacks: bool = False) -> list[Any]:  # noqa: ARG002 - the client's signature
        """Nothing is under way."""
        return []


class Streams:
    """One stream a subscription. callback: is given each message by the stream's own thread, and must not wait."""

    def __init__(self, client: SubscriberClient, project: str, callback: Callback) -> None:
        self._client = client
        self._project = project
        self._callback = callback
        self._lock = threading.Lock()
        self._futures: dict[str, Any] = {}
        self._trusted_until = time.monotonic() + TRUSTED_SECONDS
        self._stop = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="streams", daemon=True)

    def open(self, subscriptions: Iterable[str]) -> None:
        """Listen to these too."""
        with self._lock:
            if self._stop.is_set():
                return
            for name in subscriptions:
                if name not in self._futures:
                    self._futures[name] = self._pull(name)
            if not self._supervisor.is_alive():
                self._supervisor.start()

    def names(self) -> list[str]:
        """What is listened to."""
        with self._lock:
            return list(self._futures)

    def suspect(self, reason: str) -> None:
        """Open all again, unless that was done, or they were opened, just now: messages may be on their way."""
        with self._lock:
            if time.monotonic() < self._trusted_until or self._stop.is_set():
                return
            self._trusted_until = time.monotonic() + TRUSTED_SECONDS
            log.warning("all streams are opened again: %s", reason)
            self._end_all()
            self._futures = {name: self._pull(name) for name in self._futures}

    def close(self) -> None:
        """Listen no more; what was acknowledged before is sent off first."""
        self._stop.set()
        with self._lock:
            self._end_all()
            self._futures.clear()
        if self._supervisor.is_alive():
            self._supervisor.join()

    def _end_all(self) -> None:
        """They end beside each other, so they have one time for all."""
        for future in self._futures.values():
            future.cancel()
        until = time.monotonic() + CLOSE_SECONDS
        for name, future in self._futures.items():
            _finish(name, future, until)

    def _pull(self, name: str) -> Any:
        return self._client.subscribe(
            f"projects/{self._project}/subscriptions/{name}",
            callback=partial(self._callback, name),
            flow_control=FlowControl(
                max_messages=OUTSTANDING,
                max_lease_duration=LONGEST_HELD,
                min_duration_per_lease_extension=ACK_SECONDS,
                max_duration_per_lease_extension=ACK_SECONDS,  # so that a worker's death is noticed soon
            ),
            scheduler=_AtOnce(),
            await_callbacks_on_shutdown=True,
        )

    def _supervise(self) -> None:
        pause = LOOK_SECONDS
        while not self._stop.wait(pause):
            failed = self._renew()
            pause = min(LONGEST_PAUSE, pause * 2) if failed else LOOK_SECONDS

    def _renew(self) -> bool:
        """Open again what ended; whether anything had."""
        with self._lock:
            ended = [name for name, future in self._futures.items() if future.done()]
            for name in ended:
                log.warning(
                    "the stream of %s ended (%s) and is opened again", name, _why(self._futures[name])
                )
                if not self._stop.is_set():
                    self._futures[name] = self._pull(name)
        return bool(ended)


def _why(future: Any) -> str:
    error = None if future.cancelled() else future.exception()
    return f"{type(error).__name__}: {error}" if error else "it was cancelled"


def _finish(name: str, future: Any, until: float) -> None:
    try:
        future.exception(timeout=max(0.0, until - time.monotonic()))
    except FutureTimeoutError:
        log.error("the stream of %s did not end within %.0f s", name, CLOSE_SECONDS)
