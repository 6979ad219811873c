"""Deliveries that failed at our door are asked for again, where the forge has an API for that: GitHub.

A look at the heads finds a missed push anyway; a redelivery also brings who pushed, and shows green at the forge.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import msgspec

from shared.errors import Retry
from shared.record import Record
from shared.web.asking import ask

OLDEST = timedelta(days=2)  # GitHub redelivers what is at most three days old
MOST_TRIES = 6
FIRST_PAUSE = timedelta(minutes=1)
log = logging.getLogger("kuznia.webhook")


class Delivery(msgspec.Struct, frozen=True):
    """One attempt, as GitHub lists it. guid: the same for all attempts of a delivery."""

    id: int
    guid: str
    delivered_at: datetime
    status_code: int = 0
    event: str = ""


def ask_again(repository: Record, now: datetime) -> int:
    """Ask for what failed; how many. Nothing where the repository has no token and hook id, or is not GitHub's."""
    data = repository.data
    if data.get("forge") != "github" or not (data.get("token_file") and data.get("hook_id")):
        return 0
    try:
        token = Path(data["token_file"]).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s: its token cannot be read: %s", repository.name, error)
        return 0
    url = f"{data['api']}/repos/{quote(repository.name)}/hooks/{data['hook_id']}/deliveries"
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    asked = 0
    for delivery in to_ask(_listed(url, headers), now):
        reply = ask("POST", f"{url}/{delivery.id}/attempts", headers)
        if reply.status != 202:
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


def _listed(url: str, headers: dict[str, str]) -> list[Delivery]:
    reply = ask("GET", f"{url}?per_page=100", headers)
    if reply.status != 200:
        raise Retry(f"{url} answered {reply.status}: may the token read the repository's webhooks?")
    try:
        return msgspec.convert(reply.json(), list[Delivery])
    except msgspec.ValidationError as error:
        raise Retry(f"{url} is no list of deliveries: {error}") from error
