"""What a push is answered: done for good, not ours, not who should push, or come again."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from events.envelope import Event
from shared.errors import Reject, Retry
from shared.google import message
from shared.google.room import Wait
from shared.hosts import light
from shared.hosts.door import Answer, Door
from shared.hosts.http import handler
from shared.hosts.light import LightServer
from shared.ports.bus import Delivery
from shared.service import Decision, Ports, Service
from tests.contracts.adapters import event
from tests.emulators import there
from tests.memory import ManualClock, MemoryStore

PROGRESS = {"run_id": "r-1", "attempt": 1, "phase": "training", "step": 1, "total_steps": 2}


class Bus:
    """Lends what is in `lane`, one after another; what was put off stands in the way."""

    def __init__(self) -> None:
        self.lane: list[Event] = []
        self.attempt = 1
        self.settled: list[tuple[str, str]] = []
        self.extended = threading.Event()
        self.wait = 0.0
        self.broken = False

    def claim(self, service: str, event: Event) -> Delivery | Wait | None:
        if self.broken:
            raise Retry("Firestore is down")
        if self.wait:
            return Wait(self.wait)
        if not self.lane:
            return None
        return Delivery(event=self.lane[0], service=service, lease="l", attempt=self.attempt)

    def extend(self, delivery: Delivery) -> bool:
        self.extended.set()
        return True

    def ack(self, delivery: Delivery) -> bool:
        self.settled.append(("ack", self.lane.pop(0).id))
        return True

    def retry(self, delivery: Delivery, after: float, error: str) -> bool:
        self.settled.append(("retry", error))
        self.wait = after
        return True

    def bury(self, delivery: Delivery, cause: str) -> bool:
        self.settled.append(("bury", cause))
        self.lane.pop(0)
        return True


class Desk:
    def __init__(self) -> None:
        self.bus, self.store = Bus(), MemoryStore()
        self.error: Exception | None = None
        self.fault = ""
        self.service = Service(
            name="toy",
            hears=("training-progressed",),
            says=(),
            owns="runs",
            key=lambda _: "runs/r-1",
            decide=self.decide,
            effects=lambda _: {},
        )
        settings = SimpleNamespace(max_attempts=3, lease_seconds=0.06)
        ports = Ports(store=self.store, artifacts=None, cluster=None, clock=ManualClock(), settings=settings)  # type: ignore[arg-type]
        self.door = Door({"toy": self.service}, ports, self.bus, lambda _: self.fault)  # type: ignore[arg-type]

    def decide(self, *_: object) -> Decision:
        if self.error:
            raise self.error
        return Decision(status="TRAINING", data={})


@pytest.fixture
def desk() -> Desk:
    return Desk()


def said(number: int = 1) -> Event:
    return event(number, data=PROGRESS)


def test_done(desk: Desk):
    desk.bus.lane = [said()]
    assert desk.door.hear("toy", said()).status == 204
    assert desk.bus.settled == [("ack", "e-1")]
    assert desk.store.load("runs/r-1").inbox == ("e-1",)


def test_what_takes_longer_than_the_lease_is_lent_on_meanwhile(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    """Else Pub/Sub's next try would be lent it too, and both would do it."""
    monkeypatch.setattr(
        desk.store, "load", lambda _: (desk.bus.extended.wait(10), MemoryStore().load("runs/r-1"))[1]
    )
    desk.bus.lane = [said()]
    desk.door.hear("toy", said())
    assert desk.bus.extended.is_set()


def test_twice_is_done_once(desk: Desk):
    assert desk.door.hear("toy", said()).status == 204
    assert desk.bus.settled == []


def test_earlier_ones_of_the_lane_first(desk: Desk):
    desk.bus.lane = [said(1), said(2)]
    assert desk.door.hear("toy", said(2)).status == 204
    assert desk.bus.settled == [("ack", "e-1"), ("ack", "e-2")]


def test_what_is_wrong_is_buried_and_not_sent_again(desk: Desk):
    desk.bus.lane, desk.error = [said()], Reject("it names no model")
    assert desk.door.hear("toy", said()).status == 204
    assert desk.bus.settled == [("bury", "it names no model")]


def test_not_now_comes_again(desk: Desk):
    desk.bus.lane, desk.error = [said()], Retry("not registered yet", after=7)
    answer = desk.door.hear("toy", said())
    assert (answer.status, answer.retry_after) == (503, 7)
    assert desk.bus.settled == [("retry", "Retry: not registered yet")]


def test_a_bug_is_tried_again_and_then_buried(desk: Desk):
    desk.bus.lane, desk.error = [said()], ZeroDivisionError("oops")
    assert desk.door.hear("toy", said()).status == 503
    desk.bus.wait, desk.bus.attempt = 0, 3
    assert desk.door.hear("toy", said()).status == 204
    assert desk.bus.settled[-1] == ("bury", "ZeroDivisionError: oops")


def test_one_that_killed_all_who_began_it_is_buried_unheard(desk: Desk):
    desk.bus.lane, desk.bus.attempt = [said()], 4
    assert desk.door.hear("toy", said()).status == 204
    assert desk.bus.settled == [
        ("bury", "Unknown: it was begun 3 times, and whoever began it ended each time without a word")
    ]
    assert desk.store.load("runs/r-1").inbox == ()


def test_ports_that_are_down(desk: Desk):
    desk.bus.broken = True
    answer = desk.door.hear("toy", said())
    assert (answer.status, answer.text) == (503, "Firestore is down")


def test_no_such_service(desk: Desk):
    assert desk.door.hear("moon", said()).status == 404


def test_who_may_push(desk: Desk):
    assert desk.door.refusal({}) is None
    desk.fault = "the token is of somebody else"
    refusal = desk.door.refusal({})
    assert refusal
    assert (refusal.status, refusal.text) == (401, desk.fault)


@pytest.fixture
def served(desk: Desk) -> Iterator[http.client.HTTPConnection]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = LightServer(listener, handler(desk.door))
    thread = threading.Thread(target=server.serve)
    port = listener.getsockname()[1]
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    yield connection
    server.close()
    thread.join(20)
    assert not thread.is_alive()
    connection.close()


class TestLightHost:
    def ask(self, served: http.client.HTTPConnection, *words: Any, **more: Any) -> tuple[int, str, str]:
        served.request(*words, **more)
        answer = served.getresponse()
        return answer.status, answer.headers.get("Retry-After", ""), answer.read().decode()

    def push(
        self, served: http.client.HTTPConnection, path: str = "/toy", **more: Any
    ) -> tuple[int, str, str]:
        usual = {"body": message.body(said()), "headers": message.attributes(said())}
        return self.ask(served, "POST", path, **{**usual, **more})

    def test_every_answer_on_one_connection(self, desk: Desk, served: http.client.HTTPConnection):
        desk.bus.lane = [said()]
        assert self.push(served) == (204, "", "")
        assert desk.bus.settled == [("ack", "e-1")]
        assert self.ask(served, "GET", "/toy")[0] == 405
        assert self.push(served, "/moon")[0] == 404
        missing = "no CloudEvent in binary mode: id, type, source, time missing"
        assert self.push(served, headers={}) == (400, "", missing)
        desk.bus.wait = 3
        assert self.push(served)[:2] == (503, "3")
        desk.fault = "no"
        assert self.push(served)[0] == 401

    def test_a_body_in_pieces(self, desk: Desk, served: http.client.HTTPConnection):
        desk.bus.lane = [said()]
        pieces = (message.body(said())[at : at + 7] for at in range(0, 200, 7))
        pieces = (piece for piece in pieces if piece)
        assert self.push(served, body=pieces, encode_chunked=True)[0] == 204

    def test_a_body_that_is_too_large(self, served: http.client.HTTPConnection):
        with suppress(ConnectionError):
            assert self.push(served, body=bytes(light.LARGEST_BODY + light.BLOCK))[0] == 413

    def test_headers_that_are_too_large(self, served: http.client.HTTPConnection):
        with suppress(ConnectionError):
            assert self.push(served, headers={"x": "y" * (light.LARGEST_HEAD + 1)})[0] == 431

    def test_a_bug_is_told_and_the_connection_lives(self, desk: Desk, served: http.client.HTTPConnection):
        desk.door.refusal = None  # type: ignore[assignment,method-assign]
        assert self.push(served)[0] == 500
        assert self.push(served)[0] == 500

    def test_who_speaks_no_http_is_hung_up_on(self, served: http.client.HTTPConnection):
        with socket.create_connection((served.host, served.port)) as other:
            other.sendall(b"hello\r\n\r\n")
            assert other.recv(100) == b""
        assert self.push(served)[0] == 204

    def test_who_does_not_wait_for_an_answer_is_hung_up_on(
        self, desk: Desk, served: http.client.HTTPConnection
    ):
        one = b"POST /toy HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
        with socket.create_connection((served.host, served.port)) as other:
            other.sendall(one + one.replace(b"/toy", b"/moon"))
            assert other.recv(100) == b""
        assert desk.bus.settled == []

    def test_a_request_under_way_is_answered_when_it_closes(self):
        listener = socket.create_server(("127.0.0.1", 0))
        began, go_on = threading.Event(), threading.Event()

        def handle(*_: object) -> Answer:
            began.set()
            go_on.wait(20)
            return Answer(status=204)

        server = LightServer(listener, handle)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.serve)
        thread.start()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/toy", b"{}")
        assert began.wait(20)
        server.close()
        go_on.set()
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (204, "close")
        thread.join(20)
        assert not thread.is_alive()
        connection.close()


MAIN = """
from shared.hosts.http import target
from tests.shared.hosts.served import SERVICE, open_door
toy = target(SERVICE, open_door)
"""


@pytest.mark.skipif(not there("functions_framework"), reason="needs functions-framework: make contracts")
def test_functions_framework(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys  # noqa: PLC0415

    import functions_framework  # noqa: PLC0415

    opened: list[object] = []

    def open_door(service: Service) -> Door:
        opened.append(service)
        return desk.door

    served = SimpleNamespace(SERVICE=desk.service, open_door=open_door)
    monkeypatch.setitem(sys.modules, "tests.shared.hosts.served", served)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "main.py").write_text(MAIN)
    client = functions_framework.create_app("toy", str(tmp_path / "main.py")).test_client()
    assert opened == []
    desk.bus.lane = [said()]
    headers, body = message.attributes(said()), message.body(said())
    assert client.post("/toy", headers=headers, data=body).status_code == 200
    assert desk.bus.settled == [("ack", "e-1")]
    desk.bus.wait = 3
    answer = client.post("/toy", headers=headers, data=body)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert client.post("/toy", headers=headers | {"ce-type": "com.example"}, data=body).status_code == 400
    assert client.post("/toy", headers=headers, data=b"[1]").status_code == 400
    desk.fault = "no"
    assert client.post("/toy", headers=headers, data=body).status_code == 401
    assert opened == [desk.service]
