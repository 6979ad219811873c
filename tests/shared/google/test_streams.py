"""Streams that do not end hold up nobody for longer than one would."""

from __future__ import annotations

import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import pytest

from tests.emulators import there

if not there("google.cloud.pubsub_v1"):
    pytest.skip("needs Google's clients: make contracts", allow_module_level=True)

from shared.google import streams
from shared.google.streams import Streams

NAMES = ["a", "b", "c", "d", "e"]


class Stuck:
    """A stream's future, which ends in no time that it is given."""

    def __init__(self, asked: list[float]) -> None:
        self.asked, self.told = asked, False

    def cancel(self) -> None:
        self.told = True

    def done(self) -> bool:
        return False

    def exception(self, timeout: float) -> None:
        assert self.told
        self.asked.append(timeout)
        time.sleep(timeout)
        raise FutureTimeoutError


class Client:
    def __init__(self) -> None:
        self.asked: list[float] = []
        self.opened: list[str] = []

    def subscribe(self, path: str, **_: Any) -> Stuck:
        self.opened.append(path.rsplit("/", 1)[1])
        return Stuck(self.asked)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(streams, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(streams, "TRUSTED_SECONDS", 0.0)
    return Client()


def test_closed_they_have_one_time_for_all(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    opened = Streams(client, "p", lambda *_: None)
    opened.open(NAMES)
    opened.close()
    assert len(client.asked) == len(NAMES)
    assert sum(client.asked) <= 0.2
    assert caplog.text.count("did not end") == len(NAMES)
    assert opened.names() == []


def test_opened_anew_they_have_one_time_for_all(client: Client) -> None:
    opened = Streams(client, "p", lambda *_: None)
    opened.open(NAMES)
    opened.suspect("they are silent")
    assert sum(client.asked) <= 0.2
    assert client.opened == [*NAMES, *NAMES]
    assert opened.names() == NAMES
    opened.close()
