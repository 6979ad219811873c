"""Servers: they get an address, are asked whether they are ready, and stay."""

from __future__ import annotations

import os
import signal
import socket
import threading
import urllib.request
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from shared.local.cluster import addresses, verdict
from shared.local.cluster.addresses import choose, in_use, is_a_strangers


def answer(address: str) -> str:
    with urllib.request.urlopen(f"http://{address}/ready", timeout=5) as response:
        return response.read().decode()


def test_a_server_becomes_ready_at_its_address(rig: Any) -> None:
    rig.run(rig.server(["serve", "/ready"]))
    status = rig.reached("server", "ready")
    assert answer(status.address) == "1"
    assert rig.story("server") == [("running", 1, ""), ("ready", 1, "")]
    assert [event.data["address"] for event in rig.said] == [status.address] * 2


def test_two_servers_have_two_addresses(rig: Any) -> None:
    for name in ("one", "two"):
        rig.cluster.apply(rig.server(["serve", "/ready"], name=name))
    rig.cluster.start()
    assert rig.reached("one", "ready").address != rig.reached("two", "ready").address


def test_a_ready_server_that_dies_is_started_again(rig: Any) -> None:
    rig.run(rig.server(["serve", "/ready"]))
    first = rig.reached("server", "ready")
    os.killpg(first.pid, signal.SIGKILL)
    second = rig.reached("server", "ready", attempt=2)
    assert answer(second.address) == "2"
    assert first.pid != second.pid
    phases = [phase for phase, _, _ in rig.story("server")]
    assert phases == ["running", "ready", "running", "ready"]


@pytest.mark.slow
def test_a_ready_server_that_leaves_is_started_again_until_restarts_run_out(rig: Any) -> None:
    rig.run(rig.server(["serve", "/ready", 1, 5], restarts=1))
    status = rig.reached("server", "failed", attempt=2)
    assert (status.reason, status.exit_code, status.address) == ("Error", 5, "")


def test_a_server_that_ends_before_it_is_ready(rig: Any) -> None:
    rig.run(rig.server(["say", "no such model"], ["leave", 1]))
    status = rig.reached("server", "failed")
    assert (status.reason, status.message) == ("Error", "no such model")


@pytest.mark.slow
def test_a_server_that_never_gets_ready(rig: Any) -> None:
    rig.run(rig.server(["say", "loading"], ["serve", "/elsewhere"], deadline_seconds=3))
    status = rig.reached("server", "failed")
    assert status.reason == "NotReady"
    assert status.message == "/ready did not answer 200 within 3 s\nloading"


def test_a_ready_server_has_no_deadline(rig: Any) -> None:
    rig.run(rig.server(["serve", "/ready"], deadline_seconds=60))
    status = rig.reached("server", "ready")
    ready = verdict.overdue(rig.server(deadline_seconds=60), _ready_long_ago(), _now())
    assert ready is None
    assert answer(status.address) == "1"


def test_a_taken_port_leads_to_another(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setattr(
            addresses,
            "choose",
            lambda seed, held: choose(seed, held) if seed.endswith("attempt-2") else address,
        )
        rig.run(rig.server(["serve", "/ready"]))
        assert rig.reached("server", "ready", attempt=2).address != address
    assert ("running", 2, "PortTaken") in rig.story("server")


@pytest.mark.slow
def test_somebody_elses_answer_does_not_make_it_ready(rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            asked.set()

        def log_message(self, *arguments: object) -> None:
            pass

    asked = threading.Event()
    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        thread = threading.Thread(target=stranger.serve_forever, daemon=True)
        thread.start()
        address = f"127.0.0.1:{stranger.server_port}"
        monkeypatch.setattr(addresses, "choose", lambda seed, held: address)
        rig.run(rig.server(["sleep", 600], deadline_seconds=3))
        assert asked.wait(10)
        assert rig.reached("server", "failed").reason == "NotReady"
        stranger.shutdown()
        thread.join()


class TestAddresses:
    def test_a_free_port_below_those_of_outgoing_connections(self) -> None:
        address = choose("seed", [])
        assert address == choose("seed", [])
        assert 20_000 <= int(address.split(":")[1]) < 32_000
        assert choose("seed", [address]) != address

    def test_a_port_in_use_is_passed_over(self) -> None:
        address = choose("other", [])
        with socket.socket() as server:
            server.bind(("127.0.0.1", int(address.split(":")[1])))
            server.listen()
            assert in_use(address)
            assert choose("other", []) != address
            assert not is_a_strangers(address, [os.getpid()])
            assert is_a_strangers(address, [1])
        assert not is_a_strangers(address, [1])  # nobody listens: nobody's


def _ready_long_ago() -> Any:
    return verdict.State(phase="ready", began_at=1.0)


def _now() -> Any:
    return datetime.now(UTC)
