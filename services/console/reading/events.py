"""The log of events and the dead letters."""

from __future__ import annotations

from datetime import UTC, datetime

from events.catalog import UnknownEventError, definition
from events.envelope import TYPE_PREFIX, EnvelopeError, Event, name_of_type, to_structured_json
from services.console.errors import bad_request, not_found
from services.console.ports import ConsolePorts
from services.console.schemas.events import (
    CloudEvent,
    DeadLetter,
    DeadPage,
    DeadQuery,
    EventPage,
    EventQuery,
    LoggedEvent,
)
from shared.ports.bus import Query


def list_events(ports: ConsolePorts, asked: EventQuery) -> EventPage:
    """One page of the log. Raises ApiError (400), Retry."""
    since, until = _utc(asked.since), _utc(asked.until)
    if since and until and since >= until:
        raise bad_request(
            f"since ({since.isoformat()}) is not before until ({until.isoformat()})",
            where="query: since, until",
            mend="swap them, or leave one out",
        )
    query = Query(
        name=_name(asked.type),
        subject=asked.subject,
        since=since,
        until=until,
        after=asked.after,
        limit=asked.limit + 1,
        newest=asked.order == "newest",
    )
    logged = list(ports.bus.log(query))
    page = logged[: asked.limit]
    items = [LoggedEvent(position=entry.position, event=told_event(entry.event)) for entry in page]
    return EventPage(items=items, next=page[-1].position if len(logged) > asked.limit else None)


def get_event(ports: ConsolePorts, event_id: str) -> Event:
    """One event. Raises ApiError (404), Retry."""
    event = ports.bus.event(event_id)
    if event is None:
        raise not_found(
            f"the log holds no event with id {event_id}", where="events", mend="GET /api/v1/events lists all"
        )
    return event


def list_dead(ports: ConsolePorts, query: DeadQuery) -> DeadPage:
    """What could not be handled. Raises Retry."""
    items = [
        DeadLetter(
            event=told_event(letter.event),
            service=letter.service,
            cause=letter.cause,
            attempts=letter.attempts,
            at=letter.at,
        )
        for letter in ports.bus.dead_letters(query.limit)
    ]
    return DeadPage(items=items)


def told_event(event: Event) -> CloudEvent:
    """As other systems read it."""
    return CloudEvent.model_validate_json(to_structured_json(event))


def _name(asked: str) -> str:
    """The short name. Raises ApiError (400) where no event is called so."""
    if not asked:
        return ""
    try:
        name = name_of_type(asked) if asked.startswith(TYPE_PREFIX) else asked
        return definition(name).name
    except (EnvelopeError, UnknownEventError) as error:
        raise bad_request(
            str(error), where="query: type", mend="take one of these, or leave it out"
        ) from None


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
