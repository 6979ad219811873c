"""A word that comes at any moment is heard."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from shared.told import Told

SOON = 20.0


@pytest.fixture
def told() -> Iterator[Told]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Told()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_nobody_says_anything(told: Told) -> None:
    assert not told.wait(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_said_before_holds(told: Told, number: signal.Signals) -> None:
    signal.raise_signal(number)
    assert told.wait(SOON)
    assert told.wait()


@pytest.mark.timeout(60)
def test_it_may_be_said_amid_any_line_of_the_waiting(told: Told) -> None:
    for line in range(1, 50):
        waiting, lines = Told(), 0

        def trace(_frame: Any, event: str, _argument: Any, line: int = line) -> Any:
            nonlocal lines
            if event == "line":
                lines += 1
                if lines == line:
                    signal.raise_signal(signal.SIGTERM)
            return trace

        sys.settrace(trace)
        try:
            heard = waiting.wait(0.01)
        finally:
            sys.settrace(None)
        assert heard or waiting.wait(SOON) or lines < line
        if lines < line:
            break
    assert line > 3
