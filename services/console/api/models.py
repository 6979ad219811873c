"""Models, their versions, cards and reports; and the releases."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from services.console.desk import Desk
from services.console.reading.documents import Document, get_card, get_report
from services.console.reading.models import get_model, get_release, get_version, list_models, list_releases
from services.console.schemas.models import (
    ModelDetail,
    ModelPage,
    ModelQuery,
    ModelVersionDetail,
    Release,
    ReleasePage,
    ReleaseQuery,
)
from services.console.schemas.parameters import CardQuery, ModelId, VersionName
from services.console.web.conditional import tagged

ONE = "/models/{model_id}"
VERSION = ONE + "/versions/{version}"


class ModelsApi:
    """Reads of the registry."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> APIRouter:
        """Its routes."""
        models = APIRouter(tags=["models"])
        models.get("/models", summary="Model versions", response_model=ModelPage)(self.models)
        models.get(ONE, summary="One model", response_model=ModelDetail)(self.model)
        models.get(VERSION, summary="One version", response_model=ModelVersionDetail)(self.version)
        card, report = _texts("The card.", "application/json"), _texts("The report.")
        models.get(f"{VERSION}/card", summary="A version's card", responses=card, response_class=Response)(
            self.card
        )
        models.get(
            f"{VERSION}/report", summary="A version's report", responses=report, response_class=Response
        )(self.report)
        models.get("/releases", summary="Releases", response_model=ReleasePage, tags=["releases"])(
            self.releases
        )
        one = models.get(
            "/releases/{model_id}", summary="A rollout", response_model=Release, tags=["releases"]
        )
        one(self.release)
        return models

    async def models(self, query: Annotated[ModelQuery, Query()]) -> ModelPage:
        """Versions of all models, filtered, a page at a time."""
        return await self._desk.ask(list_models, query)

    async def model(self, model_id: ModelId, request: Request) -> Response:
        """All versions of a model, newest first, and which one is live."""
        detail, tag = await self._desk.ask(get_model, model_id)
        return tagged(request, detail, tag)

    async def version(self, model_id: ModelId, version: VersionName, request: Request) -> Response:
        """The registry's record of a version, with its digests, validation, approvals and release."""
        detail, tag = await self._desk.ask(get_version, model_id, version)
        return tagged(request, detail, tag)

    async def card(
        self, model_id: ModelId, version: VersionName, query: Annotated[CardQuery, Query()], request: Request
    ) -> Response:
        """Markdown, or JSON where `Accept` or `format` asks for it. `x-registered-digest` is what was registered."""
        form = query.format or preferred(request.headers.get("accept", ""))
        document = await self._desk.ask(get_card, model_id, version, form)
        return _document(request, document)

    async def report(self, model_id: ModelId, version: VersionName, request: Request) -> Response:
        """The readable report: tuned model beside base model, and every threshold."""
        document = await self._desk.ask(get_report, model_id, version)
        return _document(request, document)

    async def releases(self, query: Annotated[ReleaseQuery, Query()]) -> ReleasePage:
        """What answers under each model's name."""
        return await self._desk.ask(list_releases, query)

    async def release(self, model_id: ModelId, request: Request) -> Response:
        """What answers under a model's name: its versions, the canary that is under way, how earlier ones ended."""
        detail, tag = await self._desk.ask(get_release, model_id)
        return tagged(request, detail, tag)


def _texts(text: str, *more: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {kind: {} for kind in ("text/markdown", *more)}, "description": text}}


def preferred(accept: str) -> Literal["md", "json"]:
    """JSON where it weighs more than Markdown and text in `Accept`; else Markdown."""
    weights = {"application/json": 0.0, "text/markdown": 0.0, "text/*": 0.0, "*/*": 0.0}
    for part in accept.split(","):
        kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if kind in weights:
            weights[kind] = max(weights[kind], _weight(parameters))
    json = weights.pop("application/json")
    return "json" if json > max(weights.values()) else "md"


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "q" and value.replace(".", "", 1).isdecimal():
            return float(value)
    return 1.0


def _document(request: Request, document: Document) -> Response:
    response = tagged(request, document.content, document.digest, document.media_type)
    response.headers["vary"] = "Accept"
    if document.registered:
        response.headers["x-registered-digest"] = document.registered
    return response
