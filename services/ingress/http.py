"""POST /events, in front of the console's application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.ingress.receive import Ingress, Place
from shared.web.body import body_of

PATH = "/events"


class WithEvents:
    """ASGI: POST /events goes to the door for events, all else to the console.

    In front of the console's guard, because other systems ask by any name, and prove who they are by a token;
    the page under the same path stays behind it.
    """

    def __init__(self, console: ASGIApp, place: Place) -> None:
        self._console = console
        self._events = Starlette(routes=[route(Ingress(place), place.settings.max_body_bytes)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the class."""
        posted = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == PATH
        await (self._events if posted else self._console)(scope, receive, send)


def route(ingress: Ingress, limit: int) -> Route:
    """limit: bytes of a body that are read at most."""

    async def receive(request: Request) -> JSONResponse:
        body = await body_of(request, limit)
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = await run_in_threadpool(ingress.receive, headers, body)
        wait = {"Retry-After": str(answer.retry_after)} if answer.retry_after else {}
        asked = {"WWW-Authenticate": "Bearer"} if answer.status == 401 else {}
        return JSONResponse(answer.body, answer.status, wait | asked)

    return Route(PATH, receive, methods=["POST"])
