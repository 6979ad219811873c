"""Pushes whose delivery never came: a look at the heads of the connected repositories finds them.

Forges do not redeliver by themselves, and a local hook cannot deliver while the platform is down. Where a forge
can be asked for what failed, it is asked first.
"""

from __future__ import annotations

import logging

from events.push_received import PushReceived
from services.webhook.decide import NO_COMMIT
from services.webhook.forges.failed import ask_again
from services.webhook.receive import push_event
from shared.errors import Reject, Retry
from shared.git import remote_heads
from shared.ports.bus import Bus
from shared.ports.clock import Clock
from shared.ports.store import Store
from shared.record import Record

SOURCE = "/kuznia/webhook/missed"
log = logging.getLogger("kuznia.webhook")


def look(store: Store, bus: Bus, clock: Clock) -> int:
    """Say `push-received` for every watched branch whose head we have not heard of; returns how many."""
    found = 0
    for repository in store.list("repositories", status="CONNECTED"):
        try:
            ask_again(repository, clock.now())
        except Retry as error:
            log.warning("%s: no delivery was asked for again: %s", repository.name, error)
        try:
            heads = remote_heads(repository.data["url"])
        except (Reject, Retry) as error:
            log.warning("%s: %s", repository.name, error)
            continue
        pushes = [
            push
            for branch in repository.data["branches"]
            if (push := _missed(store, repository, branch, heads))
        ]
        bus.publish([push_event(push, clock, SOURCE) for push in pushes])
        found += len(pushes)
    return found


def _missed(store: Store, repository: Record, branch: str, heads: dict[str, str]) -> PushReceived | None:
    record = store.load(f"branches/{repository.name}/{branch}")
    known = record.data.get("head", NO_COMMIT)
    head = heads.get(branch)
    if head is None or head == known:
        return None
    return PushReceived(
        repository=repository.name,
        url=repository.data["url"],
        branch=branch,
        before=known,
        after=head,
        delivery=f"missed-{branch}-{known}-{head}-{record.revision}",  # a branch may go the same way twice
        forge="git",
    )
