"""The console's ASGI app: REST API, its reference, and the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.console.api.events import EventsApi
from services.console.api.health import HealthApi
from services.console.api.metrics import MetricsApi
from services.console.api.models import ModelsApi
from services.console.api.runs import RunsApi
from services.console.desk import Desk
from services.console.pages.render import Renderer
from services.console.pages.routes import Pages
from services.console.ports import ConsolePorts
from services.console.schemas.common import ErrorAnswer
from services.console.web.errors import install
from services.console.web.guard import Guard, allowed_names

__all__ = ["ConsolePorts", "create_app"]

TITLE = "Kuźnia"
DESCRIPTION = """The registry's REST API. It only reads; everything changes by events.

Every error has one shape: `{"error": {"what", "where", "mend"}}`. Lists come in pages: pass a page's `next` as
`after`. Single resources carry a strong `ETag`; sent back as `If-None-Match`, it saves the body (304).
"""
ERRORS = {
    400: "The request cannot be answered as it is.",
    404: "There is no such thing.",
    422: "Parameters that are not known, or hold what they cannot.",
    503: "The store or the log does not answer now; `Retry-After` says when to ask again.",
}


def create_app(
    ports: ConsolePorts, *, allowed_hosts: Sequence[str] = (), open_paths: Sequence[str] = ()
) -> FastAPI:
    """The app; routers may be added to it.

    allowed_hosts: names beside loopback's and `settings.host` under which it may be asked (`*`: any).
    open_paths: paths, with all below them, that may be asked under any name, because their requests are
    signed (a webhook's).
    """
    desk = Desk(ports)
    renderer = Renderer()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    app = FastAPI(
        title=TITLE,
        version="1",
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_routes(app, desk, renderer)
    install(app, renderer.error)
    names = allowed_names(ports.settings.host, allowed_hosts)
    app.add_middleware(Guard, names=names, open_paths=tuple(open_paths))
    return app


def _add_routes(app: FastAPI, desk: Desk, renderer: Renderer) -> None:
    errors: dict[int | str, dict[str, object]] = {
        status: {"model": ErrorAnswer, "description": text} for status, text in ERRORS.items()
    }
    health = HealthApi(desk)
    for api in (ModelsApi(desk), RunsApi(desk), EventsApi(desk), health):
        app.include_router(api.router(), prefix="/api/v1", responses=errors)
    app.include_router(health.router(), include_in_schema=False)
    app.include_router(MetricsApi(desk).router(), include_in_schema=False)
    app.include_router(Pages(desk, renderer).router())
