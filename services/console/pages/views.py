"""What each page shows: readings put together, one function a page; they run at the desk."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

from events.catalog import definitions
from services.console.errors import ApiError
from services.console.pages.chart import loss_chart
from services.console.pages.markdown import render, split_front_matter
from services.console.ports import ConsolePorts
from services.console.reading.documents import Document, get_card, get_logs, get_report
from services.console.reading.events import get_event, list_dead, list_events, told_event
from services.console.reading.models import get_model, get_version, list_models
from services.console.reading.runs import get_run, list_runs, recent_runs
from services.console.schemas.events import DeadQuery, EventQuery, LoggedEvent
from services.console.schemas.models import ModelQuery
from services.console.schemas.runs import RunQuery
from shared.ports.bus import Query

Context = dict[str, Any]
LIVE_SECONDS, QUIET_SECONDS = 3, 15
LAST_EVENTS, LOOKED_AT = 15, 400
DEAD_SHOWN = 5
LOG_LINES = 60
CHATTER = "training-progressed"
UNDER_WAY = frozenset({"QUEUED", "TRAINING"})


def overview(ports: ConsolePorts, after: str) -> Context:
    """Models, runs, the last events, dead letters."""
    page = list_models(ports, ModelQuery(after=after, limit=200))
    running = list_runs(ports, RunQuery(status="TRAINING", limit=50)).items
    waiting = list_runs(ports, RunQuery(status="QUEUED", limit=50)).items
    groups = [(name, list(group)) for name, group in groupby(page.items, key=lambda entry: entry.model_id)]
    dead = ports.bus.dead_letters(1000)
    return {
        "groups": groups,
        "live_count": sum(entry.live for entry in page.items),
        "next": page.next,
        "running": running,
        "waiting": sorted(waiting, key=lambda run: run.queue.place if run.queue else 0),
        "recent": [run for run in recent_runs(ports) if run.status not in UNDER_WAY],
        "events": _last_events(ports),
        "dead": list_dead(ports, DeadQuery(limit=DEAD_SHOWN)).items,
        "dead_count": len(dead),
        "refresh": LIVE_SECONDS if running or waiting else QUIET_SECONDS,
    }


def newest_version(ports: ConsolePorts, model_id: str) -> str:
    """The version a model's own address leads to: the live one, else the newest. Raises ApiError (404)."""
    detail, _ = get_model(ports, model_id)
    return detail.live or detail.versions[0].version


def model(ports: ConsolePorts, model_id: str, version: str) -> Context:
    """One version: where it comes from, how it did, its card, its history."""
    detail, _ = get_version(ports, model_id, version)
    others, _ = get_model(ports, model_id)
    card = _text(lambda: get_card(ports, model_id, version, "md")) if detail.card else None
    reported = detail.validation and detail.validation.report
    report = _text(lambda: get_report(ports, model_id, version)) if reported else None
    subject = f"models/{model_id}@{version}"
    history = list_events(ports, EventQuery(subject=subject, limit=200)).items
    return {"model": detail, "others": others.versions, "card": card, "report": report, "history": history}


def run(ports: ConsolePorts, run_id: str) -> Context:
    """One run: progress, loss, checkpoints, faults, the end of its log."""
    detail, _ = get_run(ports, run_id)
    try:
        log = get_logs(ports, run_id, LOG_LINES)
    except ApiError as error:
        log = "" if detail.status == "REJECTED" else f"({error.what})"
    history = list_events(ports, EventQuery(subject=f"runs/{run_id}", order="newest", limit=200)).items
    return {
        "run": detail,
        "chart": loss_chart(detail.losses),
        "log": log,
        "history": [logged for logged in reversed(history) if CHATTER not in logged.event.type],
        "refresh": LIVE_SECONDS if detail.status in UNDER_WAY else 0,
    }


def events(ports: ConsolePorts, query: EventQuery) -> Context:
    """The log, filtered."""
    page = list_events(ports, query)
    kept = query.model_dump(mode="json", exclude_defaults=True, exclude={"after"}) | {"order": query.order}
    return {"page": page, "query": query, "kept": kept, "names": list(definitions())}


def event(ports: ConsolePorts, event_id: str) -> Context:
    """One event, what it answers, and what answered it."""
    found = get_event(ports, event_id)
    cause = ports.bus.event(found.cause) if found.cause else None
    around = ports.bus.log(Query(subject=found.subject, since=found.time, limit=200))
    answers = [told_event(logged.event) for logged in around if logged.event.cause == event_id]
    return {"event": told_event(found), "cause": told_event(cause) if cause else None, "answers": answers}


def _last_events(ports: ConsolePorts) -> list[LoggedEvent]:
    """Without the many that only say how far a run has come."""
    logged = ports.bus.log(Query(newest=True, limit=LOOKED_AT))
    kept = [entry for entry in logged if entry.event.name != CHATTER][:LAST_EVENTS]
    return [LoggedEvent(position=entry.position, event=told_event(entry.event)) for entry in kept]


def _text(read: Callable[[], Document]) -> Context:
    """A document as HTML, with what stands at its head, and what is wrong with it.

    One that vanished from the store does not take the page with it.
    """
    try:
        document = read()
    except ApiError as error:
        return {"html": "", "head": "", "fault": f"{error.what}: {error.mend}"}
    head, rest = split_front_matter(document.content.decode("utf-8", "replace"))
    return {"html": render(rest), "head": head, "fault": _alteration(document)}


def _alteration(document: Document) -> str:
    if not document.altered:
        return ""
    return (
        f"This text was altered after it was registered: {document.registered} then, {document.digest} now."
    )
