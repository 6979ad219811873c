"""The gateway as an ASGI application: `create_app` puts it together, one method a kind of endpoint."""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Any

from services.gateway.audit import Audit, Entry
from services.gateway.background import Background
from services.gateway.call import Call
from services.gateway.endpoints import Endpoint, find
from services.gateway.errors import ApiError, ClientGoneError, unavailable
from services.gateway.front import Front
from services.gateway.metrics import TYPE, Metrics
from services.gateway.options import Options
from services.gateway.ports import Directory
from services.gateway.proxy import Proxy
from services.gateway.reply import Receive, Reply, Send
from services.gateway.request import request_id
from services.gateway.traffic import Outcome, Traffic
from services.gateway.upstream import Upstreams
from services.gateway.voice import Publish, Voice
from services.gateway.waking import Waking
from shared.engine_key import engine_key
from shared.local.clock import SystemClock
from shared.ports.clock import Clock
from shared.settings import Settings

Scope = MutableMapping[str, Any]
BAD_REQUEST, CLIENT_GONE, SERVER_ERROR = 400, 499, 500


class Gateway:
    """Serve it with the lifespan protocol on: that starts and stops what runs beside the requests."""

    def __init__(self, front: Front, background: Background, upstreams: Upstreams, clock: Clock) -> None:
        self._front = front
        self._background = background
        self._upstreams = upstreams
        self._clock = clock
        self._metrics = background.metrics
        self._audit = background.audit
        self._traffic = background.voice.traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._background.lifespan(receive, send)
        else:
            await send({"type": "websocket.close"})

    def active(self, address: str) -> int:
        """Requests under way with the engine at `host:port`; 0: it is drained."""
        return self._upstreams.active(address)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, came = time.perf_counter(), self._clock.now()
        headers = tuple(scope["headers"])
        call = Call(
            request_id=request_id(headers), method=scope["method"], path=scope["path"], headers=headers
        )
        reply = Reply(send, call.request_id)
        self._metrics.in_flight += 1
        status = 500
        try:
            await self._answer(call, receive, reply)
            status = reply.status
        except ApiError as error:
            status = error.status
            await reply.error(error)
        except ClientGoneError:
            status = CLIENT_GONE
        finally:
            seconds = time.perf_counter() - started
            self._metrics.in_flight -= 1
            self._metrics.observe(call.route, status, seconds)
            self._count(call, reply, status=status, started=started)
            if call.path.startswith("/v1/"):
                self._audit.put(_entry(call, reply, status=status, came=came, seconds=seconds))

    def _count(self, call: Call, reply: Reply, *, status: int, started: float) -> None:
        """What the version made of it; a client that goes away says nothing of the model."""
        target = call.target
        if target is None or status == CLIENT_GONE or not (call.reached or call.failure):
            return
        failed = status >= SERVER_ERROR or bool(call.failure)
        outcome = Outcome(
            failed=failed,
            timed=not failed and status < BAD_REQUEST,
            first=max(0.0, reply.first_at - started),
            last=time.perf_counter() - started,
        )
        self._metrics.answered(target.role, outcome)
        if not target.pinned:
            self._traffic.seen(target, outcome, self._clock.now())

    async def _answer(self, call: Call, receive: Receive, reply: Reply) -> None:
        endpoint = find(call.path, call.method)
        call.route, call.repeatable = endpoint.label, endpoint.repeatable
        if endpoint.kind == "engine":
            await self._front.engine(call, receive, reply)
        elif endpoint.kind == "models":
            await self._front.models(call, reply)
        elif endpoint.kind == "model":
            await self._front.model(call, reply)
        else:
            await self._operate(endpoint, reply)

    async def _operate(self, endpoint: Endpoint, reply: Reply) -> None:
        if endpoint.kind == "metrics":
            extra = {"upstream_repeats": self._upstreams.repeats, "audit_lost": self._audit.lost}
            await reply.whole(200, self._metrics.text(extra), ((b"content-type", TYPE),))
        elif endpoint.kind == "ready" and not self._background.ready:
            raise unavailable("The gateway has not read its routes yet, or is going down.", 1, "not_ready")
        else:
            await reply.json({"status": "ok"})


def create_app(
    directory: Directory,
    settings: Settings,
    options: Options | None = None,
    clock: Clock | None = None,
    publish: Publish | None = None,
) -> Gateway:
    """The gateway over a directory. Nothing runs before the server's lifespan starts.

    publish: makes the gateway's own events durable; without it no canary is measured, and nothing wakes.
    """
    dials, clock = options or Options(), clock or SystemClock()
    metrics, upstreams = Metrics(), Upstreams(dials)
    name = f"{socket.gethostname()}-{os.getpid()}-{clock.now().timestamp():.0f}"
    audit = Audit(settings.home / "logs" / "gateway.jsonl")
    key: Callable[[str], str] = functools.lru_cache(1024)(functools.partial(engine_key, settings.home))
    proxy = Proxy(upstreams, metrics, dials, key)
    voice = Voice(publish, directory, Traffic(name, proxy.active), clock)
    waking = Waking(directory, voice, clock, dials)
    front = Front(proxy, voice, waking, clock, settings.max_body_bytes)
    return Gateway(front, Background(directory, upstreams, metrics, audit, voice), upstreams, clock)


def _entry(call: Call, reply: Reply, *, status: int, came: Any, seconds: float) -> Entry:
    target, token = call.target, call.token
    return Entry(
        time=came,
        request_id=call.request_id,
        route=call.route,
        status=status,
        duration_ms=round(seconds * 1000, 3),
        token=token.id if token else "",
        tenant=token.tenant if token else "",
        model=target.name if target else "",
        manifest_digest=target.placement.manifest_digest if target else "",
        stream=call.stream,
        bytes_in=len(call.body),
        bytes_out=reply.bytes_out,
        error=call.failure,
    )
