"""Deliveries that failed at our door are asked for again, where the forge has an API for that: GitHub and GitLab.

A look at the heads finds a missed push anyway; a redelivery also brings who pushed, and shows green at the forge.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from shared.errors import Retry
from shared.record import Record
from shared.web.asking import ask

OLDEST = timedelta(days=2)  # GitHub redelivers what is at most three days old
MOST_TRIES = 6
MOST_ASKED = 5  # at a look, a minute; GitLab lets through no more
FIRST_PAUSE = timedelta(minutes=1)
PATIENT = timedelta(hours=1)  # how long ago something is taken to be that has no time: longer than any pause
log = logging.getLogger("kuznia.webhook")


class Delivery(msgspec.Struct, frozen=True):
    """One attempt. guid: the same for all attempts of a delivery. event: `push`, or what else it was of."""

    id: int
    guid: str
    delivered_at: datetime
    status_code: int = 0
    event: str = ""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Where a forge lists what it delivered. attempt: path of the call that repeats one, below the list.

    asked: what that call answers where it does.
    """

    url: str
    attempt: str
    headers: dict[str, str]
    asked: frozenset[int]
    read: Callable[[Any, datetime], list[Delivery]]


def ask_again(repository: Record, now: datetime) -> int:
    """Ask for what failed; how many. Nothing where there is no token or hook id, or the forge cannot be asked."""
    data = repository.data
    history_of = _HISTORIES.get(data.get("forge", ""))
    if history_of is None or not (data.get("token_file") and data.get("hook_id")):
        return 0
    try:
        token = Path(data["token_file"]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s: its token cannot be read: %s", repository.name, error)
        return 0
    history = history_of(repository.name, data, token)
    asked = 0
    for delivery in to_ask(_listed(history, now), now)[:MOST_ASKED]:
        reply = ask("POST", f"{history.url}/{delivery.id}/{history.attempt}", history.headers)
        if reply.status not in history.asked:
            log.warning("%s: redelivery of %s was refused (%d)", repository.name, delivery.guid, reply.status)
            break
        log.info("%s: asked for delivery %s again", repository.name, delivery.guid)
        asked += 1
    return asked


def to_ask(deliveries: Sequence[Delivery], now: datetime) -> list[Delivery]:
    """Of each push that never reached us its newest attempt, once the pause is over; oldest push first.

    Pauses double with every attempt. What we refused ourselves (4xx) would be refused again.
    """
    attempts: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        if delivery.event == "push":
            attempts[delivery.guid].append(delivery)
    found = []
    for tried in attempts.values():
        newest = max(tried, key=lambda delivery: delivery.delivered_at)
        reached = any(0 < delivery.status_code < 500 for delivery in tried)
        pause = FIRST_PAUSE * 2 ** (len(tried) - 1)
        age = now - newest.delivered_at
        if not reached and len(tried) < MOST_TRIES and pause <= age <= OLDEST:
            found.append(newest)
    return sorted(found, key=lambda delivery: delivery.delivered_at)


def _listed(history: History, now: datetime) -> list[Delivery]:
    reply = ask("GET", f"{history.url}?per_page=100", history.headers)
    if reply.status != 200:
        raise Retry(f"{history.url} answered {reply.status}: may the token read the repository's webhooks?")
    try:
        return history.read(reply.json(), now)
    except msgspec.ValidationError as error:
        raise Retry(f"{history.url} is no list of deliveries: {error}") from error


def _github(name: str, data: Mapping[str, Any], token: str) -> History:
    return History(
        url=f"{data['api']}/repos/{quote(name)}/hooks/{data['hook_id']}/deliveries",
        attempt="attempts",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"},
        asked=frozenset({202}),
        read=lambda listed, _now: msgspec.convert(listed, list[Delivery]),
    )


class _Event(msgspec.Struct, frozen=True):
    """One attempt, as GitLab lists it: for a week, and of when not a word in every version."""

    id: int
    trigger: str
    request_headers: dict[str, str] = {}
    response_status: str | int | None = None
    created_at: datetime | None = None


def _gitlab(name: str, data: Mapping[str, Any], token: str) -> History:
    return History(
        url=f"{data['api']}/projects/{quote(name, safe='')}/hooks/{data['hook_id']}/events",
        attempt="resend",
        headers={"PRIVATE-TOKEN": token},
        asked=frozenset({200, 201}),
        read=lambda listed, now: [_attempt(one, now) for one in msgspec.convert(listed, list[_Event])],
    )


def _attempt(event: _Event, now: datetime) -> Delivery:
    """A status that is no number (`internal error`) is one that never came."""
    status = str(event.response_status or "")
    sent = {key.lower(): value for key, value in event.request_headers.items()}
    return Delivery(
        id=event.id,
        guid=sent.get("idempotency-key") or sent.get("x-gitlab-event-uuid") or str(event.id),
        delivered_at=event.created_at or now - PATIENT,
        status_code=int(status) if status.isascii() and status.isdigit() else 0,
        event="push" if event.trigger == "push_hooks" else event.trigger,
    )


_HISTORIES: Mapping[str, Callable[[str, Mapping[str, Any], str], History]] = {
    "github": _github,
    "gitlab": _gitlab,
}
