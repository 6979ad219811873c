"""The front door's route, for whatever ASGI application it is mounted on."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.webhook.receive import Answer, Receiver
from shared.web.body import body_of

PATH = "/webhooks/github"  # of the local hook, and of every forge that is not named


def route(receiver: Receiver, limit: int) -> Route:
    """POST /webhooks/<forge>. limit: bytes of a body that are read at most."""

    async def receive(request: Request) -> JSONResponse:
        body = await body_of(request, limit)
        headers = {name.lower(): value for name, value in request.headers.items()}
        forge = request.path_params["forge"]
        return _response(await run_in_threadpool(receiver.receive, headers, body, forge))

    return Route("/webhooks/{forge}", receive, methods=["POST"])


def _response(answer: Answer) -> JSONResponse:
    headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after else {}
    return JSONResponse(answer.body, answer.status, headers)
