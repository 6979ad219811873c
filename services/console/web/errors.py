"""From what went wrong to an answer: JSON for programs, a page for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.console.errors import ApiError
from services.console.schemas.common import ErrorAnswer, Fault
from shared.errors import KuzniaError, Retry, Unknown

RETRY_SECONDS = 2
Page = Callable[[ApiError], Response]
Handler = Callable[[Request, Exception], Awaitable[Response]]


def error_answer(error: ApiError) -> Response:
    """The one shape: `{"error": {what, where, mend}}`."""
    body = ErrorAnswer(error=Fault(what=error.what, where=error.where, mend=error.mend))
    return Response(body.model_dump_json(), error.status, media_type="application/json")


def install(app: FastAPI, page: Page) -> None:
    """Let the app answer every error so. page: renders it for a browser."""
    readings: dict[type[Exception], Callable[[Request, Exception], ApiError]] = {
        KuzniaError: _ours,
        RequestValidationError: _invalid,
        HTTPException: _http,
        Exception: _unforeseen,
    }
    for kind, read in readings.items():
        app.add_exception_handler(kind, _handler(read, page))


def wants_page(request: Request) -> bool:
    """A browser that asks for a page, not a program that asks the API."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


def _handler(read: Callable[[Request, Exception], ApiError], page: Page) -> Handler:
    async def handle(request: Request, exception: Exception) -> Response:
        error = read(request, exception)
        response = page(error) if wants_page(request) else error_answer(error)
        if error.status == 503:
            response.headers["retry-after"] = str(RETRY_SECONDS)
        response.headers.update(getattr(exception, "headers", None) or {})
        return response

    return handle


def _ours(request: Request, exception: Exception) -> ApiError:
    if isinstance(exception, ApiError):
        return exception
    if isinstance(exception, Retry | Unknown):
        return ApiError(503, str(exception), where=_line(request), mend="ask again in a moment")
    return ApiError(500, str(exception), where=_line(request), mend="the platform's own log says more")


def _invalid(_request: Request, exception: Exception) -> ApiError:
    assert isinstance(exception, RequestValidationError)
    faults = exception.errors()
    places = [": ".join(str(part) for part in fault["loc"]) for fault in faults]
    what = "; ".join(f"{place}: {fault['msg']}" for place, fault in zip(places, faults, strict=True))
    return ApiError(422, what, where=", ".join(places), mend="/docs says what each parameter takes")


def _http(request: Request, exception: Exception) -> ApiError:
    assert isinstance(exception, HTTPException)
    mend = "/docs lists all there is" if exception.status_code in (404, 405) else "/docs says how to ask"
    what = "there is nothing under this address" if exception.detail == "Not Found" else str(exception.detail)
    return ApiError(exception.status_code, what, where=_line(request), mend=mend)


def _unforeseen(request: Request, exception: Exception) -> ApiError:
    what = f"the console has a fault of its own ({type(exception).__name__})"
    return ApiError(500, what, where=_line(request), mend="the platform's own log says where")


def _line(request: Request) -> str:
    return f"{request.method} {request.url.path}"
