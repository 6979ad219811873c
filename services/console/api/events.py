"""The log of events, and the dead letters."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from events.envelope import to_structured_json
from services.console.desk import Desk
from services.console.reading.events import get_event, list_dead, list_events
from services.console.schemas.events import CloudEvent, DeadPage, DeadQuery, EventPage, EventQuery
from services.console.schemas.parameters import EventId
from services.console.web.conditional import tagged
from shared.identity import content_digest

STRUCTURED = "application/cloudevents+json"


class EventsApi:
    """Reads of the log."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> APIRouter:
        """Its routes."""
        events = APIRouter(tags=["events"])
        events.get("/events", summary="Events", response_model=EventPage)(self.events)
        schema = {"$ref": f"#/components/schemas/{CloudEvent.__name__}"}
        one: dict[int | str, dict[str, Any]] = {
            200: {"content": {STRUCTURED: {"schema": schema}}, "description": "A CloudEvent."}
        }
        path = "/events/{event_id:path}"
        events.get(path, summary="One event", responses=one, response_class=Response)(self.event)
        events.get("/dead", summary="Dead letters", response_model=DeadPage)(self.dead)
        return events

    async def events(self, query: Annotated[EventQuery, Query()]) -> EventPage:
        """The log, filtered, a page at a time; it only grows, so a cursor never goes stale."""
        return await self._desk.ask(list_events, query)

    async def event(self, event_id: EventId, request: Request) -> Response:
        """A CloudEvent in structured mode, as it can be published again."""
        event = await self._desk.ask(get_event, event_id)
        body = to_structured_json(event)
        return tagged(request, body, content_digest(body), STRUCTURED)

    async def dead(self, query: Annotated[DeadQuery, Query()]) -> DeadPage:
        """Events that a service could not handle, with the cause."""
        return await self._desk.ask(list_dead, query)
