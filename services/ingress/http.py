"""POST /events, for whatever ASGI application it is mounted on."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.ingress.receive import Ingress
from shared.web.body import body_of

PATH = "/events"


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
