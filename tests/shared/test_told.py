"""A word that comes at any moment, to any thread, is heard."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from shared.told import STOPS, Told

SOON = 20.0


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (*STOPS, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def told() -> Iterator[Told]:
    with Told() as made:
        yield made


def test_nobody_says_anything(told: Told) -> None:
    assert not told.wait(0.01)


@pytest.mark.parametrize("number", STOPS)
def test_what_was_said_before_holds(told: Told, number: signal.Signals) -> None:
    signal.raise_signal(number)
    assert told.wait(SOON)
    assert told.wait()


def test_other_signals_say_nothing(told: Told) -> None:
    signal.signal(signal.SIGUSR2, lambda *_: None)
    signal.raise_signal(signal.SIGUSR2)
    assert not told.wait(0.01)
    signal.raise_signal(signal.SIGTERM)
    assert told.wait(SOON)


@pytest.mark.timeout(60)
def test_a_signal_that_comes_to_another_thread_is_heard(told: Told) -> None:
    """There it interrupts nothing of the main thread, which may wait for a lock by then."""
    other = threading.get_ident()

    def say() -> None:
        nonlocal other
        other = threading.get_ident()
        signal.pthread_kill(other, signal.SIGTERM)

    thread = threading.Timer(0.05, say)
    thread.start()
    assert told.wait(SOON)
    thread.join()
    assert other != threading.get_ident()


@pytest.mark.timeout(60)
def test_it_may_be_said_amid_any_line_of_the_waiting() -> None:
    for line in range(1, 50):
        lines = 0

        def trace(_frame: Any, event: str, _argument: Any, line: int = line) -> Any:
            nonlocal lines
            if event == "line":
                lines += 1
                if lines == line:
                    signal.raise_signal(signal.SIGTERM)
            return trace

        with Told() as waiting:
            sys.settrace(trace)
            try:
                heard = waiting.wait(0.01)
            finally:
                sys.settrace(None)
            assert heard or waiting.wait(SOON if lines >= line else 0) or lines < line
        if lines < line:
            break
    assert line > 3
