"""Events of the log, delivered once more under their own ids; or only rehearsed, to see what would change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec

from events.envelope import Event
from shared.errors import Reject
from shared.operations.reading import every_event, find_event
from shared.operations.rehearsal import Played, Rehearsal, differences
from shared.ports.bus import Bus, Query
from shared.ports.operations import Note, Operations
from shared.record import Record
from shared.service import Service

COMPACT = "compact"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which events, for whom. All that is given must hold; services empty: all that hear them."""

    ids: tuple[str, ...] = ()
    name: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    services: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing narrows it."""
        return not (self.ids or self.name or self.subject or self.since or self.until)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What one event would do to one record. changes: path -> (before, after). said: events that are new to
    the log. asked: effects, as `launch`. fault: why it would fail.
    """

    event: str
    name: str
    service: str
    key: str
    known: bool
    changes: dict[str, tuple[object, object]]
    said: tuple[str, ...]
    asked: tuple[str, ...]
    fault: str

    @property
    def nothing(self) -> bool:
        """Whether all would stay as it is."""
        return not (self.changes or self.said or self.asked or self.fault)


def select(bus: Bus, operations: Operations, selection: Selection, now: datetime) -> list[Event]:
    """The events, in the order of the log. Raises Reject where they lie in the future, or before the horizon."""
    if selection.until and selection.until > now:
        raise Reject(
            f"--until {selection.until.isoformat()} is in the future: only what was said can be replayed"
        )
    if selection.since and selection.since > now:
        raise Reject(
            f"--since {selection.since.isoformat()} is in the future: only what was said can be replayed"
        )
    if selection.ids:
        events = [find_event(bus, operations, identifier) for identifier in selection.ids]
        events = [event for event in events if _matches(event, selection)]
    else:
        query = Query(
            name=selection.name, subject=selection.subject, since=selection.since, until=selection.until
        )
        events = [logged.event for logged in every_event(bus, query)]
    _refuse_what_cannot_be(events, horizon(operations), now)
    return events


def horizon(operations: Operations) -> datetime | None:
    """Before this moment inboxes were compacted, so nothing of that time may be delivered again."""
    moments = [datetime.fromisoformat(note.detail["before"]) for note in operations.notes(COMPACT)]
    return max(moments, default=None)


def hearers(services: Mapping[str, Service], event: Event, wanted: Sequence[str]) -> list[Service]:
    """Who hears it, of those that are wanted. Raises Reject on a service that there is not."""
    unknown = sorted(set(wanted) - set(services))
    if unknown:
        raise Reject(f"no service is called {', '.join(unknown)}; there are: {', '.join(sorted(services))}")
    hears = [service for service in services.values() if event.name in service.hears]
    return [service for service in hears if not wanted or service.name in wanted]


def rehearse(
    services: Mapping[str, Service],
    load: Callable[[str], Record],
    events: Sequence[Event],
    wanted: Sequence[str],
    log: tuple[Bus, datetime],
) -> list[Change]:
    """What a replay would do, one after another, each upon what the ones before it changed. Writes nothing."""
    bus, now = log
    rehearsal = Rehearsal(load)
    changes = []
    for event in events:
        for service in hearers(services, event, wanted):
            played = rehearsal.react(service, event, now)
            if played.key or played.fault:
                changes.append(_change(bus, service, event, played))
    return changes


def replay(
    services: Mapping[str, Service],
    operations: Operations,
    events: Sequence[Event],
    wanted: Sequence[str],
    note: Note,
) -> int:
    """Deliver them again; how many deliveries that made. What waits already is not doubled.

    The note is kept first: a replay that was cut off is one that was begun.
    """
    operations.note(note)
    pairs = [(event, service) for event in events for service in hearers(services, event, wanted)]
    return sum(operations.redeliver(event.id, service.name) for event, service in pairs)


def _matches(event: Event, selection: Selection) -> bool:
    return (
        selection.name in ("", event.name)
        and selection.subject in ("", event.subject)
        and (selection.since is None or event.time >= selection.since)
        and (selection.until is None or event.time < selection.until)
    )


def _refuse_what_cannot_be(events: Sequence[Event], before: datetime | None, now: datetime) -> None:
    early = [event for event in events if event.time > now]
    if early:
        raise Reject(
            f"{len(early)} of these events are of the future, such as {early[0].name} {early[0].id} of"
            f" {early[0].time.isoformat()}: a clock is wrong, or they must wait; narrow it with --until"
        )
    old = [event for event in events if before and event.time < before]
    if old and before:
        raise Reject(
            f"{len(old)} of these events are older than {before.isoformat()}, up to which inboxes were compacted:"
            " who heard them is no longer known, so they could be done twice; narrow it with --since, or import"
            " an export from before that into an empty home and look there"
        )


def _change(bus: Bus, service: Service, event: Event, played: Played) -> Change:
    before, after = played.before or Record(key=played.key or "/"), played.after or Record(key="/")
    changes = differences(before.data, after.data)
    if before.status != after.status:
        changes = {"status": (before.status, after.status), **changes}
    return Change(
        event=event.id,
        name=event.name,
        service=service.name,
        key=played.key,
        known=played.known,
        changes=changes,
        said=tuple(f"{said.name} {said.subject}" for said in played.said if bus.event(said.id) is None),
        asked=tuple(do.effect for do in played.asked),
        fault=played.fault,
    )
