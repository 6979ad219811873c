"""Services behind HTTP, as Pub/Sub pushes to them: a target for functions-framework, and an ASGI application.

Both take what a push subscription sends unwrapped with metadata: a CloudEvent in binary mode.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from events.envelope import EnvelopeError, Event
from shared.google import message
from shared.hosts.door import Answer, Door
from shared.service import Service

THREADS = 16
LARGEST = 10 * 1024 * 1024  # bytes; what a message of Pub/Sub may have
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
OpenDoor = Callable[[Service], Door]


def target(service: Service, open_door: OpenDoor | None = None) -> Callable[[Any], None]:
    """The function that functions-framework serves, called as the service is.

    Ports are opened by the first event: functions-framework forks, and gRPC must be opened after that.
    """
    framework = importlib.import_module("functions_framework")
    flask = importlib.import_module("flask")
    once = _Once(service, open_door or _door_of_profile)

    def hear(cloud_event: Any) -> None:
        door = once.door()
        headers = {name.lower(): value for name, value in flask.request.headers.items()}
        answer = door.refusal(headers) or _heard(door, service.name, lambda: _from_sdk(cloud_event))
        if answer.status >= 300:
            more = {"Retry-After": str(answer.retry_after)} if answer.retry_after else {}
            flask.abort(flask.Response(f"{answer.text}\n", answer.status, more))

    hear.__name__ = hear.__qualname__ = service.name
    function: Callable[[Any], None] = framework.cloud_event(hear)
    return function


class PushApplication:
    """`POST /<service>`, as ASGI; parses no more than it must. Anything else is 404 or 405."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="push")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the application's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await _reply(send, await self._answer(scope, receive))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] != "POST":
            return Answer(status=405, text="events are POSTed")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._door.refusal(headers)
        if refusal:
            return refusal
        body = await _body(receive)
        if body is None:
            return Answer(status=413, text=f"the body is longer than {LARGEST} bytes")
        name = scope["path"].rsplit("/", 1)[-1]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, _heard, self._door, name, lambda: message.read(headers, body)
        )

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            word = (await receive())["type"]
            await send({"type": f"{word}.complete"})
            if word == "lifespan.shutdown":
                self._pool.shutdown()
                return


class _Once:
    """A door, opened by whoever needs it first."""

    def __init__(self, service: Service, open_door: OpenDoor) -> None:
        self._service = service
        self._open = open_door
        self._lock = threading.Lock()
        self._door: Door | None = None

    def door(self) -> Door:
        with self._lock:
            if self._door is None:
                self._door = self._open(self._service)
            return self._door


def _door_of_profile(service: Service) -> Door:
    door: Door = importlib.import_module("shared.profiles").open_door({service.name: service})
    return door


def _heard(door: Door, name: str, read: Callable[[], Event]) -> Answer:
    try:
        event = read()
    except EnvelopeError as error:
        return Answer(status=400, text=str(error))
    return door.hear(name, event)


def _from_sdk(cloud_event: Any) -> Event:
    return message.event(cloud_event.get_attributes(), cloud_event.get_data())


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None where it is too long."""
    parts: list[bytes] = []
    size = 0
    while True:
        news = await receive()
        parts.append(news.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST:
            return None
        if not news.get("more_body"):
            return b"".join(parts)


async def _reply(send: Send, answer: Answer) -> None:
    body = answer.text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8")] if body else []
    if answer.status != 204:
        headers.append((b"content-length", str(len(body)).encode()))
    if answer.retry_after:
        headers.append((b"retry-after", str(answer.retry_after).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
