"""The front door's route, for whatever ASGI application it is mounted on."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from services.webhook.receive import Answer, Receiver

PATH = "/webhooks/github"


def route(receiver: Receiver, limit: int) -> Route:
    """POST /webhooks/github. limit: bytes of a body that are read at most."""

    async def receive(request: Request) -> JSONResponse:
        body = await _body(request, limit)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return _response(await run_in_threadpool(receiver.receive, headers, body))

    return Route(PATH, receive, methods=["POST"])


async def _body(request: Request, limit: int) -> bytes:
    """The body, or its first `limit` + 1 bytes: enough to know that it is too long."""
    chunks = bytearray()
    try:
        async for chunk in request.stream():
            chunks += chunk
            if len(chunks) > limit:
                break
    except ClientDisconnect:
        return b""
    return bytes(chunks)


def _response(answer: Answer) -> JSONResponse:
    headers = {"Retry-After": str(answer.retry_after)} if answer.retry_after else {}
    return JSONResponse(answer.body, answer.status, headers)
