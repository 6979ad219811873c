"""The addresses of the pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from services.console.desk import Desk
from services.console.errors import bad_request
from services.console.pages import views
from services.console.pages.reference import reference
from services.console.pages.render import ASSETS, Renderer
from services.console.schemas.events import EventQuery

FOREVER = "public, max-age=31536000, immutable"


class Pages:
    """For people."""

    def __init__(self, desk: Desk, renderer: Renderer) -> None:
        self._desk = desk
        self._renderer = renderer

    def router(self) -> APIRouter:
        """Its routes."""
        pages = APIRouter(include_in_schema=False)
        pages.get("/")(self.overview)
        pages.get("/models/{model_id}")(self.model)
        pages.get("/models/{model_id}/{version}")(self.version)
        pages.get("/runs/{run_id}")(self.run)
        pages.get("/events")(self.events)
        pages.get("/events/{event_id:path}")(self.event)
        pages.get("/docs")(self.docs)
        for name in ASSETS:
            pages.add_api_route(f"/{name}", self._asset(name))
        return pages

    async def overview(self, after: Annotated[str, Query()] = "") -> Response:
        """What there is and what happens."""
        return self._page("overview.html", await self._desk.ask(views.overview, after))

    async def model(self, model_id: str) -> Response:
        """On to the version that answers, else the newest."""
        version = await self._desk.ask(views.newest_version, model_id)
        return RedirectResponse(f"/models/{quote(model_id, safe='')}/{quote(version, safe='')}")

    async def version(self, model_id: str, version: str) -> Response:
        """One version."""
        return self._page("model.html", await self._desk.ask(views.model, model_id, version))

    async def run(self, run_id: str) -> Response:
        """One run."""
        return self._page("run.html", await self._desk.ask(views.run, run_id))

    async def events(self, request: Request) -> Response:
        """The log; an empty field of the form is a condition not given."""
        given = {name: value for name, value in request.query_params.items() if value}
        try:
            query = EventQuery.model_validate({"order": "newest", **given})
        except ValidationError as error:
            places = ", ".join(str(fault["loc"][0]) for fault in error.errors())
            faults = "; ".join(fault["msg"] for fault in error.errors())
            raise bad_request(faults, where=f"query: {places}", mend="go back and correct it") from None
        return self._page("events.html", await self._desk.ask(views.events, query))

    async def event(self, event_id: str) -> Response:
        """One event."""
        return self._page("event.html", await self._desk.ask(views.event, event_id))

    async def docs(self, request: Request) -> Response:
        """The API's reference, from its own OpenAPI document."""
        base = str(request.base_url).rstrip("/")
        return self._page("docs.html", {"api": reference(request.app.openapi(), base), "base": base})

    def _page(self, template: str, context: Mapping[str, Any]) -> Response:
        return self._renderer.page(template, context)

    def _asset(self, name: str) -> Callable[[], Any]:
        async def asset() -> Response:
            content = self._renderer.assets[name]
            return Response(content, media_type=ASSETS[name], headers={"cache-control": FOREVER})

        return asset
