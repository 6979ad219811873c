"""Services behind HTTP, as Pub/Sub pushes to them: a target for functions-framework, and a handler for our own host.

Both take what a push subscription sends unwrapped with metadata: a CloudEvent in binary mode.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from events.envelope import EnvelopeError, Event
from shared.google import message
from shared.hosts.door import Answer, Door
from shared.service import Service

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


def handler(door: Door) -> Callable[[str, str, Mapping[str, str], bytes], Answer]:
    """`POST /<service>`, for `shared.hosts.light`."""

    def handle(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if method != "POST":
            return Answer(status=405, text="events are POSTed")
        name = path.rsplit("/", 1)[-1]
        return door.refusal(headers) or _heard(door, name, lambda: message.read(headers, body))

    return handle


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
