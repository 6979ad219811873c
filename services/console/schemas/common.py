"""Shapes that many answers share."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class Told(BaseModel):
    """Base of all answers; a record may hold more than the API tells."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Asked(BaseModel):
    """Base of all query strings: a parameter that is not known is a fault, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fault(Told):
    """One error, for a person."""

    what: str = Field(description="What is wrong.")
    where: str = Field(description="Which part of the request, or which record.")
    mend: str = Field(description="How to mend it.")


class ErrorAnswer(Told):
    """The one shape of every error."""

    error: Fault


class DeadRecord(Told):
    """Why a record stopped."""

    event: str = Field(description="Id of the event that could not be handled.")
    cause: str
    at: datetime


class Ready(Told):
    """The console answers, and so does what it reads."""

    status: str = Field(examples=["ok"])


class Version(Told):
    """What runs here."""

    name: str = Field(examples=["kuznia"])
    version: str = Field(description="Version of the platform.", examples=["0.1.0"])
    api: str = Field(description="Version of this API.", examples=["v1"])
    python: str = Field(examples=["3.11.7"])
