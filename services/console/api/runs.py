"""Training runs and their logs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from services.console.desk import Desk
from services.console.reading.documents import get_logs
from services.console.reading.runs import get_run, list_runs
from services.console.schemas.parameters import LogQuery, RunId
from services.console.schemas.runs import RunDetail, RunPage, RunQuery
from services.console.web.conditional import tagged


class RunsApi:
    """Reads of the runs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> APIRouter:
        """Its routes."""
        runs = APIRouter(tags=["runs"])
        runs.get("/runs", summary="Runs", response_model=RunPage)(self.runs)
        runs.get("/runs/{run_id}", summary="One run", response_model=RunDetail)(self.run)
        logs = "/runs/{run_id}/logs"
        lines: dict[int | str, dict[str, Any]] = {
            200: {"content": {"text/plain": {}}, "description": "Lines."}
        }
        runs.get(logs, summary="A run's log", responses=lines, response_class=Response)(self.logs)
        return runs

    async def runs(self, query: Annotated[RunQuery, Query()]) -> RunPage:
        """Runs, filtered, a page at a time."""
        return await self._desk.ask(list_runs, query)

    async def run(self, run_id: RunId, request: Request) -> Response:
        """A run with its progress, loss curve, checkpoints and faults."""
        detail, tag = await self._desk.ask(get_run, run_id)
        return tagged(request, detail, tag)

    async def logs(self, run_id: RunId, query: Annotated[LogQuery, Query()]) -> PlainTextResponse:
        """The last lines of the trainer's output, over all its attempts."""
        return PlainTextResponse(await self._desk.ask(get_logs, run_id, query.tail))
