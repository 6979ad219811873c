"""Training runs, with the loss curve that the log holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.console.errors import not_found
from services.console.ports import ConsolePorts
from services.console.reading.paging import Scan, page_of, told
from services.console.schemas.runs import Checkpoint, Loss, Run, RunDetail, RunPage, RunQuery
from shared.ports.bus import Logged, Query
from shared.ports.store import Store
from shared.record import Record

RECENT = 10


def list_runs(ports: ConsolePorts, query: RunQuery) -> RunPage:
    """One page of runs. Raises Retry."""

    def keep(record: Record) -> bool:
        model = record.data.get("model") or {}
        asked = (("tenant", query.tenant), ("model_id", query.model_id))
        return all(not value or model.get(name) == value for name, value in asked)

    scan = Scan(kind="runs", status=query.status or "", after=query.after, limit=query.limit, keep=keep)
    page = page_of(ports.store, scan)
    return RunPage(items=[told_run(record) for record in page.records], next=page.next)


def recent_runs(ports: ConsolePorts, limit: int = RECENT) -> list[Run]:
    """The runs whose configs were committed last, newest first. Raises Retry."""
    committed = ports.bus.log(Query(name="config-committed", newest=True, limit=limit))
    keys = list(dict.fromkeys(logged.event.subject for logged in committed))
    records = [ports.store.load(key) for key in keys if key.startswith("runs/")]
    return [told_run(record) for record in records if record.revision]


def get_run(ports: ConsolePorts, run_id: str) -> tuple[RunDetail, str]:
    """One run, and its ETag. Raises ApiError (404), Retry."""
    record = run_record(ports.store, run_id)
    progressed = ports.bus.log(Query(name="training-progressed", subject=record.key))
    losses = _losses(progressed)
    detail = told(
        RunDetail,
        record,
        **_flat(record),
        losses=losses,
        checkpoints=[_checkpoint(entry, losses) for entry in record.data.get("checkpoints", [])],
    )
    last = progressed[-1].position if progressed else 0
    return detail, f"{record.revision}-{last}"


def run_record(store: Store, run_id: str) -> Record:
    """The record of a run. Raises ApiError (404), Retry."""
    record = store.load(f"runs/{run_id}")
    if record.revision == 0:
        raise not_found(f"no run is called {run_id}", where=record.key, mend="GET /api/v1/runs lists all")
    return record


def told_run(record: Record) -> Run:
    """A run's record as the API says it."""
    return told(Run, record, **_flat(record))


def _flat(record: Record) -> dict[str, Any]:
    model, source = record.data.get("model") or {}, record.data.get("source") or {}
    own = {"run_id": record.name, "cause": record.data.get("cause") or ""}
    own["queue"] = record.data.get("queue") or None
    names = {name: model.get(name, "") for name in ("model_id", "version", "tenant")}
    places = ("repository", "experiment", "commit", "branch", "author", "tree")
    return {**own, **names, **{name: source.get(name, "") for name in places}}


def _losses(progressed: Sequence[Logged]) -> list[Loss]:
    by_step: dict[int, Loss] = {}
    for logged in progressed:
        if logged.event.data.get("loss") is not None:
            loss = Loss.model_validate(logged.event.data)
            by_step[loss.step] = loss
    return [by_step[step] for step in sorted(by_step)]


def _checkpoint(entry: dict[str, Any], losses: list[Loss]) -> Checkpoint:
    before = [loss for loss in losses if loss.step <= entry["step"]]
    return Checkpoint.model_validate({**entry, "loss": before[-1].loss if before else None})
