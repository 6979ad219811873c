"""What the gate in front of vLLM lets through, and to whom."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from shared.forge.inside.engine.kuznia_gate import Gate

HERE, ELSEWHERE = ("127.0.0.1", 40000), ("10.0.0.9", 40000)


class Line:
    """An app behind the gate, and a client before it."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.gate = Gate(self.app)

    async def app(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        self.reached.append(scope.get("path", scope["type"]))
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def ask(self, path: str, method: str = "POST", client: Any = HERE, **headers: str) -> int:
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "method": method, "headers": pairs}
        return self.send(scope | {"client": client, "server": ("127.0.0.1", 8000)})

    def send(self, scope: dict[str, Any]) -> int:
        said: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        asyncio.run(self.gate(scope, None, send))
        return int(said[0].get("status") or said[0]["code"])


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setenv("KUZNIA_GATE_SECRET", "s3cret")
    monkeypatch.setenv("VLLM_API_KEY", "key")
    monkeypatch.setenv("KUZNIA_AGENT", "4242")
    found = Line()
    found.ask("/kuznia/open", x_kuznia_gate="s3cret")
    return found


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("GET", "/metrics"), ("GET", "/v1/models"), ("POST", "/v1/chat/completions")],
)
def test_what_is_offered_passes(line: Line, method: str, path: str) -> None:
    assert line.ask(path, method, client=ELSEWHERE) == 200


@pytest.mark.parametrize(
    "path",
    ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters", "/adapters/x", "/tokenize", "/docs"],
)
def test_all_else_does_not_exist(line: Line, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer key"}, {"x_kuznia_gate": "wrong"}, {"x_kuznia_gate": ""}):
        assert line.ask(path, **headers) == 404
    assert line.reached == []


def test_the_agent_passes_with_its_secret_and_only_from_this_machine(line: Line) -> None:
    assert line.ask("/v1/load_lora_adapter", x_kuznia_gate="s3cret") == 200
    assert line.ask("/v1/load_lora_adapter", client=ELSEWHERE, x_kuznia_gate="s3cret") == 404
    assert line.ask("/v1/load_lora_adapter", client=None, x_kuznia_gate="s3cret") == 404


def test_questions_wait_until_the_agent_has_loaded_what_it_is_to_load(line: Line) -> None:
    line.gate = Gate(line.app)
    assert line.ask("/v1/chat/completions") == 503
    assert line.ask("/health", "GET") == 200
    assert line.ask("/v1/load_lora_adapter", x_kuznia_gate="s3cret") == 200
    assert line.ask("/kuznia/open") == 404
    assert line.ask("/v1/chat/completions") == 503
    assert line.ask("/kuznia/open", x_kuznia_gate="s3cret") == 200
    assert line.ask("/v1/chat/completions") == 200


def test_without_an_agent_nobody_has_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUZNIA_GATE_SECRET", raising=False)
    monkeypatch.delenv("KUZNIA_AGENT", raising=False)
    line = Line()
    assert line.ask("/v1/load_lora_adapter", x_kuznia_gate="") == 404
    assert line.ask("/kuznia/reload", authorization="Bearer key") == 404
    assert line.ask("/v1/chat/completions") == 200


def test_a_reload_is_for_who_has_the_key(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: told.append((pid, number)))
    assert line.ask("/kuznia/reload") == 401
    assert line.ask("/kuznia/reload", authorization="Bearer other") == 401
    assert told == []
    assert line.ask("/kuznia/reload", authorization="Bearer key") == 202
    assert told == [(4242, signal.SIGUSR1)]
    assert line.reached == []


def test_what_is_no_request_passes_and_websockets_do_not(line: Line) -> None:
    line.send({"type": "lifespan"})
    assert line.reached == ["lifespan"]
    assert line.send({"type": "websocket", "path": "/v1/realtime"}) == 1008
