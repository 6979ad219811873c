"""Parameters that lie in the path of a request, and the query of documents and logs."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path
from pydantic import Field

from services.console.schemas.common import Asked

ModelId = Annotated[str, Path(description="`<tenant>.<name>.v<major>`.", examples=["team-x.llm-qa.v1"])]
VersionName = Annotated[str, Path(description="Semver, or a commit.", examples=["1.0.0"])]
RunId = Annotated[str, Path(description="Identity of the run.", examples=["r-0123456789abcdef"])]
EventId = Annotated[
    str, Path(description="Id of the event.", examples=["2c1f0f7e-0d7b-5a55-9f0e-2f6b6f5d7a10"])
]


class CardQuery(Asked):
    """Which form of the card."""

    format: Literal["md", "json"] | None = Field(default=None, description="Stronger than `Accept`.")


class LogQuery(Asked):
    """How much of a log."""

    tail: int = Field(default=200, ge=1, le=10_000, description="How many of the last lines.")
