"""In front of vLLM, inside its own server: what is offered to clients, and nothing else.

vLLM has more routes than anybody should reach: loading an adapter takes a path of this machine's file system
(`/v1/load_lora_adapter`, and `/adapters`, which asks for no key at all). The gate lets those pass only for who
comes from this machine and shows the secret that the pod's agent made for this start. A separate proxy would cost
every request a hop; this costs a dictionary lookup.

KUZNIA_GATE_SECRET: the agent's secret; unset: nobody has one. KUZNIA_AGENT: its pid, told of `/kuznia/reload`;
where it is set, questions are answered 503 until the agent has loaded what it is to load (`/kuznia/open`): one that
comes early is to be asked again, and not told that there is no such model.
"""

from __future__ import annotations

import hmac
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

OFFERED = {
    "/health": ("GET",),
    "/metrics": ("GET",),
    "/v1/models": ("GET",),
    "/v1/chat/completions": ("POST",),
    "/v1/completions": ("POST",),
    "/v1/embeddings": ("POST",),
    "/v1/responses": ("POST",),
}
RELOAD = "/kuznia/reload"
OPEN = "/kuznia/open"
SECRET_HEADER = b"x-kuznia-gate"

_WORDS = {
    200: b'{"status":"open"}',
    202: b'{"status":"accepted"}',
    401: b'{"error":"Unauthorized"}',
    404: b'{"detail":"Not Found"}',
    503: b'{"error":{"message":"Adapters are being loaded.","type":"server_error","code":"model_not_ready"}}',
}

App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class Gate:
    """ASGI middleware, the outermost."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._secret = os.environ.get("KUZNIA_GATE_SECRET", "")
        self._key = os.environ.get("VLLM_API_KEY", "")
        self._agent = int(os.environ.get("KUZNIA_AGENT", "0"))
        self._open = not self._agent

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Let it pass, or answer here."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
        elif self._is_agent(scope):
            await self._serve_agent(scope, receive, send)
        elif scope["method"] in OFFERED.get(scope["path"], ()):
            await self._serve(scope, receive, send)
        elif (scope["path"], scope["method"]) == (RELOAD, "POST"):
            await _answer(send, self._reload(scope))
        else:
            await _answer(send, 404)

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if self._open or scope["method"] == "GET":
            await self._app(scope, receive, send)
        else:
            await _answer(send, 503)

    async def _serve_agent(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == OPEN:
            self._open = True
            await _answer(send, 200)
        else:
            await self._app(scope, receive, send)

    def _is_agent(self, scope: dict[str, Any]) -> bool:
        """From this machine to this machine, and knows the secret."""
        here = bool(scope.get("client") and scope.get("server")) and scope["client"][0] == scope["server"][0]
        shown = _header(scope, SECRET_HEADER)
        return here and bool(self._secret) and hmac.compare_digest(shown, self._secret.encode())

    def _reload(self, scope: dict[str, Any]) -> int:
        """Ask the agent to look at the registry now; 401 without the engine's key, 404 where there is none."""
        if not self._agent:
            return 404
        wanted = b"Bearer " + self._key.encode()
        if not self._key or not hmac.compare_digest(_header(scope, b"authorization"), wanted):
            return 401
        os.kill(self._agent, signal.SIGUSR1)
        return 202


def _header(scope: dict[str, Any], name: bytes) -> bytes:
    return next((bytes(value) for key, value in scope["headers"] if key == name), b"")


async def _answer(send: Any, status: int) -> None:
    body = _WORDS[status]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
