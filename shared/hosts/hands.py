"""Many deliveries in hand at once, on one thread: their writes go out together; only effects get threads.

A reaction is a generator over port calls, so it can wait for a write without holding up a thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from shared.delivery import Bury, failed, handle
from shared.errors import KuzniaError
from shared.hosts.company import WRITTEN, Written
from shared.hosts.driver import Driver
from shared.ports.bus import Delivery
from shared.reaction import Perform
from shared.service import Service

MOST = 64  # in hand; more would only wait for their turn while their lease runs
log = logging.getLogger("kuznia.host")


class Hand:
    """A delivery on its way. bugs: how many struck so far, of us or the service."""

    __slots__ = ("bugs", "delivery", "steps")

    def __init__(self, delivery: Delivery, steps: Generator[Any, Any, Any]) -> None:
        self.delivery = delivery
        self.steps = steps
        self.bugs = 0


class _News(NamedTuple):
    """What a hand waited for: an answer, or an exception."""

    hand: Hand
    answer: Any


class Hands:
    """`run` is the one thread; `room` and `take` are for who lends; then `lend_no_more`, then `finish`."""

    def __init__(
        self, services: Mapping[str, Service], driver: Driver, max_attempts: int, threads: int
    ) -> None:
        self._services = services
        self._driver = driver
        self._max_attempts = max_attempts
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="effect")
        self._news: queue.SimpleQueue[_News | None] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._held = 0
        self._performing = 0
        self._lending = True
        self._finishing = False
        self._ended = 0

    def room(self) -> int:
        """Wait until more may be lent; how many. 0 once no more may ever be.

        Not while effects wait for a thread, nor for a few: they would miss the company of others.
        """
        with self._changed:
            self._changed.wait_for(self._has_room)
            return MOST - self._held if self._lending else 0

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Begin with these."""
        hands = [Hand(delivery, self._beginning(delivery)) for delivery in deliveries]
        self._count(held=len(hands))
        for hand in hands:
            self._news.put(_News(hand, None))

    def lend_no_more(self) -> None:
        """Let `room` return 0."""
        with self._changed:
            self._lending = False
            self._changed.notify_all()

    def finish(self) -> None:
        """Let `run` return once nothing is in hand."""
        self._news.put(None)

    def run(self) -> None:
        """Work until told to finish; what is in hand then is done first."""
        while self._held or not self._finishing:
            self._turn(self._came(wait=True))
        self._pool.shutdown()

    def _has_room(self) -> bool:
        return not self._lending or (self._held <= MOST // 2 and self._performing < self._threads)

    def _count(self, *, held: int = 0, performing: int = 0) -> None:
        with self._changed:
            self._held += held
            self._performing += performing
            if self._has_room():
                self._changed.notify_all()

    def _came(self, *, wait: bool) -> list[_News]:
        """All the news there are; at least one, or the word to finish, where it is told to wait."""
        found: list[_News] = []
        try:
            while True:
                news = self._news.get(block=wait)
                wait = False
                if news is None:
                    self._finishing = True
                else:
                    found.append(news)
        except queue.Empty:
            return found

    def _turn(self, news: list[_News]) -> None:
        """Let each go on until it must wait, then write what they ask for as one; until none asks any more."""
        while news:
            asked = [(hand, call) for hand, answer in news if (call := self._go_on(hand, answer)) is not None]
            if self._ended:
                self._count(held=-self._ended)
                self._ended = 0
            answers = self._driver.write([call for _, call in asked]) if asked else []
            news = [_News(hand, answer) for (hand, _), answer in zip(asked, answers, strict=True)]
            news += self._came(wait=False)

    def _go_on(self, hand: Hand, answer: Any) -> Written | None:
        """Up to its next write; None where an effect or its end comes first."""
        try:
            return self._until_write(hand, answer)
        except KuzniaError as error:
            log.error("not even the outcome could be written, so it comes again: %s", error)
        except Exception as bug:  # noqa: BLE001 - one service's bug must not end the thread of all
            return self._go_on_without(hand, bug)
        self._ended += 1
        return None

    def _until_write(self, hand: Hand, answer: Any) -> Written | None:
        while True:
            if isinstance(answer, BaseException) and not isinstance(answer, KuzniaError):
                raise answer
            call = _next(hand.steps, answer)
            if call is None:
                self._ended += 1
                return None
            if isinstance(call, WRITTEN):
                return call
            if isinstance(call, Perform):
                self._count(performing=1)
                self._pool.submit(self._perform, hand, call)
                return None
            answer = self._driver.attempt(call)

    def _perform(self, hand: Hand, call: Perform) -> None:
        answer = self._driver.attempt(call)
        self._count(performing=-1)
        self._news.put(_News(hand, answer))

    def _go_on_without(self, hand: Hand, bug: Exception) -> Written | None:
        """First as with any failure; should the same bug strike there, the dead letter must tell it alone."""
        delivery, hand.bugs = hand.delivery, hand.bugs + 1
        log.error("%s could not handle %s", delivery.service, delivery.event.name, exc_info=bug)
        hand.steps.close()
        if hand.bugs == 1:
            hand.steps = failed(self._services[delivery.service], delivery, self._max_attempts, bug)
        elif hand.bugs == 2:
            hand.steps = _buried(delivery, f"{type(bug).__name__}: {bug}")
        else:
            self._ended += 1
            return None
        return self._go_on(hand, None)

    def _beginning(self, delivery: Delivery) -> Generator[Any, Any, Any]:
        service = self._services.get(delivery.service)
        if service is None:
            return _buried(delivery, f"no service is called {delivery.service!r}")
        return handle(service, delivery, self._max_attempts)


def _next(steps: Generator[Any, Any, Any], answer: Any) -> Any:
    """What it asks for next; None at its end."""
    try:
        return steps.throw(answer) if isinstance(answer, KuzniaError) else steps.send(answer)
    except StopIteration:
        return None


def _buried(delivery: Delivery, cause: str) -> Generator[Any, Any, None]:
    yield Bury(delivery, cause)
