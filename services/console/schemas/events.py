"""The log of events, and the dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from services.console.schemas.common import Asked, Told


class EventQuery(Asked):
    """Which events; all that is given must hold."""

    type: str = Field(
        default="",
        description="Short name or CloudEvents `type`.",
        examples=["model-validated", "dev.kuznia.model-validated.v1"],
    )
    subject: str = Field(
        default="", description="The record it is about.", examples=["runs/r-0123456789abcdef"]
    )
    since: datetime | None = Field(
        default=None, description="Said at or after (ISO 8601; UTC where no zone is given)."
    )
    until: datetime | None = Field(default=None, description="Said before.")
    order: Literal["oldest", "newest"] = Field(default="oldest", description="Which come first.")
    after: int = Field(default=0, ge=0, description="Cursor: `next` of the page before.")
    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")


class CloudEvent(Told):
    """A CloudEvent 1.0 in structured mode."""

    specversion: str
    id: str
    type: str = Field(examples=["dev.kuznia.model-validated.v1"])
    source: str
    subject: str = ""
    time: datetime
    datacontenttype: str = "application/json"
    traceparent: str = Field(default="", description="W3C trace context of the push that began it all.")
    cause: str = Field(default="", description="Id of the event this one answers.")
    data: dict[str, Any] = Field(default={})


class LoggedEvent(Told):
    """An event and its place in the log, which only grows."""

    position: int
    event: CloudEvent


class EventPage(Told):
    """Events in the order asked for."""

    items: list[LoggedEvent]
    next: int | None = Field(description="Cursor of the next page, null on the last.")


class DeadQuery(Asked):
    """How many dead letters."""

    limit: int = Field(default=100, ge=1, le=1000, description="How many at most.")


class DeadLetter(Told):
    """An event a service could not handle; redrive it with the CLI once its cause is mended."""

    event: CloudEvent
    service: str
    cause: str
    attempts: int
    at: datetime


class DeadPage(Told):
    """Dead letters, oldest first."""

    items: list[DeadLetter]
