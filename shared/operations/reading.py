"""Reading whole: every event, every record, one event by the beginning of its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from events.envelope import Event
from shared.errors import Reject
from shared.ports.bus import Bus, Logged, Query
from shared.ports.operations import Operations
from shared.ports.store import Store
from shared.record import Record

PAGE = 1000
MOST_NAMED = 5


def every_event(bus: Bus, query: Query | None = None) -> Iterator[Logged]:
    """All that the query asks for, however many, oldest first."""
    asked = msgspec.structs.replace(query or Query(), limit=PAGE, newest=False)
    while True:
        page = bus.log(asked)
        yield from page
        if len(page) < PAGE:
            return
        asked = msgspec.structs.replace(asked, after=page[-1].position)


def newest_events(bus: Bus, query: Query, wanted: Callable[[Event], bool], most: int) -> list[Logged]:
    """The newest that are wanted, oldest of them first."""
    found: list[Logged] = []
    asked = msgspec.structs.replace(query, limit=PAGE, newest=True)
    while len(found) < most:
        page = bus.log(asked)
        found += [logged for logged in page if wanted(logged.event)]
        if len(page) < PAGE:
            break
        asked = msgspec.structs.replace(asked, after=page[-1].position)
    return found[:most][::-1]


def every_record(store: Store, kind: str) -> Iterator[Record]:
    """All of a kind, in order of key."""
    after = ""
    while page := store.list(kind, after=after, limit=PAGE):
        yield from page
        after = page[-1].key


def find_event(bus: Bus, operations: Operations, identifier: str) -> Event:
    """An event by its id or an unambiguous beginning of it. Raises Reject saying what there is."""
    found = operations.find(identifier) if identifier else []
    if len(found) != 1 and identifier not in found:
        which = f": {', '.join(found[:MOST_NAMED])}" if found else "; `kuznia events` lists them"
        raise Reject(f"{'several events have' if found else 'no event has'} an id {identifier!r}…{which}")
    event = bus.event(identifier if identifier in found else found[0])
    if event is None:
        raise Reject(f"event {identifier} was dropped by a compaction just now")
    return event
