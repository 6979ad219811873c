"""Messages wait by lane; whatever order they come in, none is lost and none is looked at by two."""

from __future__ import annotations

import threading
import time

import pytest

from shared.google.room import HELD_SECONDS, Room

LANE, OTHER = ("training", "runs/1"), ("training", "runs/2")


class Message:
    def __init__(self) -> None:
        self.told: list[str] = []

    def ack(self) -> None:
        self.told.append("ack")

    def nack(self) -> None:
        self.told.append("nack")


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_lane_is_taken_by_one(room: Room):
    room.put(LANE, Message())
    assert room.take() == LANE
    assert room.take() is None
    assert not room.reserve(LANE)
    room.done(LANE)
    assert room.take() == LANE


def test_it_is_not_taken_before_its_time(room: Room):
    room.put(LANE, Message(), after=0.05)
    assert room.take() is None
    room.wait(5)
    assert room.take() == LANE


def test_news_while_somebody_looks_lead_to_another_look(room: Room):
    room.put(LANE, Message())
    assert room.take() == LANE
    room.put(LANE, Message())
    room.done(LANE, after=HELD_SECONDS)
    assert room.take() == LANE


def test_a_wake_while_somebody_looks_is_not_missed(room: Room):
    room.put(LANE, Message())
    assert room.take() == LANE
    room.wake(LANE)
    room.done(LANE, after=HELD_SECONDS)
    assert room.take() == LANE


def test_what_would_wait_too_long_goes_back(room: Room):
    early, late = Message(), Message()
    room.put(LANE, early, after=HELD_SECONDS + 1)
    room.put(LANE, late)
    assert room.take() == LANE
    room.done(LANE, after=HELD_SECONDS + 1)
    assert (early.told, late.told) == (["nack"], ["nack"])
    assert room.take() is None


def test_a_lane_without_work_is_acknowledged_but_for_what_came_since(room: Room):
    before, since = Message(), Message()
    room.put(LANE, before)
    seen = room.messages(LANE)
    room.put(LANE, since)
    room.drop(LANE, seen)
    assert (before.told, since.told) == (["ack"], [])
    assert room.pop(LANE) is since
    assert room.pop(LANE) is None


def test_a_message_wakes_who_waits(room: Room):
    found: list[object] = []

    def wait() -> None:
        room.wait(60)
        found.append(room.take())

    thread = threading.Thread(target=wait)
    thread.start()
    room.put(OTHER, Message())
    thread.join(10)
    assert found == [OTHER]


def test_work_can_be_expected_without_a_message(room: Room):
    room.expect(LANE, after=0.05)
    assert room.take() is None
    room.wait(5)
    assert room.take() == LANE
    assert room.pop(LANE) is None
    room.done(LANE)
    assert room.take() is None
    room.expect(LANE, after=HELD_SECONDS + 1)
    assert room.take() is None


def test_closed_it_gives_back_and_takes_no_more(room: Room):
    held, late = Message(), Message()
    room.put(LANE, held)
    room.close()
    room.put(LANE, late)
    assert (held.told, late.told) == (["nack"], ["nack"])
    began = time.monotonic()
    room.wait(60)
    assert time.monotonic() - began < 10


def test_once_all_are_let_go_nobody_waits_not_even_who_was_about_to(room: Room):
    room.release()
    thread = threading.Thread(target=room.wait, args=(60,), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
