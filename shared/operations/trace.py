"""The causal tree of a push, a run, a model version or an event: what followed from what, when, and who waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from events.envelope import Event
from shared.operations.reading import every_event
from shared.ports.bus import Bus
from shared.ports.operations import Operations


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How an event stands with one hearer. state: decided, waiting, dead. at: when it was decided, or is due.

    what: the record that decided, or what was said last.
    """

    who: str
    state: str
    at: datetime
    what: str = ""
    attempts: int = 0


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """after: seconds since its cause was said (of a root: 0). since_root: seconds since the tree began."""

    event: Event
    after: float
    since_root: float
    marks: tuple[Mark, ...]
    children: tuple[Node, ...]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where to look. event: id to begin at, with all its ancestors. subjects: records whose events belong to it;
    keys: records whose workloads do.
    """

    event: str = ""
    subjects: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


def trace(bus: Bus, operations: Operations, target: Target) -> tuple[Node, ...]:
    """The trees the target is part of, oldest first: its ancestors, itself, all that followed.

    Of an ancestor only the branches that lead to the target are shown.
    """
    events = _chosen(bus, target)
    marks = _marks(bus, operations, events)
    followers: dict[str, list[Event]] = {}
    roots = []
    for event in events.values():
        if event.cause in events:
            followers.setdefault(event.cause, []).append(event)
        else:
            roots.append(event)
    return tuple(_node(root, root, root, followers, marks) for root in sorted(roots, key=_time))


def ancestors(bus: Bus, event: Event) -> list[Event]:
    """From the first of the chain to the event's parent."""
    found: list[Event] = []
    seen = {event.id}
    while event.cause and event.cause not in seen:
        parent = bus.event(event.cause)
        if parent is None:
            break
        found.append(parent)
        seen.add(parent.id)
        event = parent
    return found[::-1]


def children(bus: Bus, event: Event) -> list[Event]:
    """What followed from it at once, in the order of the log."""
    return [logged.event for logged in every_event(bus) if logged.event.cause == event.id]


def marks_of(bus: Bus, operations: Operations, event: Event) -> tuple[Mark, ...]:
    """Who decided an event, where it waits, where it is dead."""
    return _marks(bus, operations, {event.id: event}).get(event.id, ())


def walk(nodes: Iterable[Node]) -> Iterable[Node]:
    """Every node, parents first."""
    for node in nodes:
        yield node
        yield from walk(node.children)


def _chosen(bus: Bus, target: Target) -> dict[str, Event]:
    """In the order of the log. One pass is enough: an effect is said after its cause."""
    begun = bus.event(target.event) if target.event else None
    chosen: dict[str, Event] = {}
    for logged in every_event(bus):
        event = logged.event
        own = event.id == target.event or event.subject in target.subjects or _works_for(event, target.keys)
        if own or event.cause in chosen:
            chosen[event.id] = event
    above: dict[str, Event] = {}
    for first in [begun] if begun else [event for event in chosen.values() if event.cause not in chosen]:
        above.update((parent.id, parent) for parent in ancestors(bus, first))
    return {**above, **{key: event for key, event in chosen.items() if key not in above}}


def _works_for(event: Event, keys: frozenset[str]) -> bool:
    return event.name == "workload-changed" and event.data.get("key") in keys


def _marks(bus: Bus, operations: Operations, events: Mapping[str, Event]) -> dict[str, tuple[Mark, ...]]:
    found: dict[str, list[Mark]] = {identifier: [] for identifier in events}
    for identifier in events:
        found[identifier] += [
            Mark(who=decided.key.split("/", 1)[0], state="decided", at=decided.at, what=decided.key)
            for decided in operations.decisions(event=identifier)
        ]
    for waiting in operations.waiting(limit=1_000_000):
        if waiting.event.id in found:
            mark = Mark(
                who=waiting.service,
                state="waiting",
                at=waiting.due,
                what=waiting.error,
                attempts=waiting.attempts,
            )
            found[waiting.event.id].append(mark)
    for letter in bus.dead_letters(limit=1_000_000):
        if letter.event.id in found:
            mark = Mark(
                who=letter.service, state="dead", at=letter.at, what=letter.cause, attempts=letter.attempts
            )
            found[letter.event.id].append(mark)
    return {identifier: tuple(marks) for identifier, marks in found.items()}


def _node(
    event: Event,
    parent: Event,
    root: Event,
    followers: Mapping[str, Sequence[Event]],
    marks: Mapping[str, tuple[Mark, ...]],
) -> Node:
    return Node(
        event=event,
        after=(event.time - parent.time).total_seconds(),
        since_root=(event.time - root.time).total_seconds(),
        marks=marks.get(event.id, ()),
        children=tuple(
            _node(child, event, root, followers, marks)
            for child in sorted(followers.get(event.id, ()), key=_time)
        ),
    )


def _time(event: Event) -> tuple[datetime, str]:
    return event.time, event.id
