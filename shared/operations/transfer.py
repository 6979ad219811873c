"""An installation moved as its log: taken out whole, and made anew elsewhere by deciding everything again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from events.envelope import Event
from shared.errors import Reject
from shared.lifecycle import TRANSITIONS
from shared.operations.rebuild import Rebuilt, differing, rebuild
from shared.operations.rehearsal import owners
from shared.ports.operations import Note, Operations, Snapshot
from shared.ports.store import Store
from shared.record import Record
from shared.service import Service

MOST_SHOWN = 10


class Batches(Store, Protocol):
    """A store that takes several commits as one."""

    def commit_all(self, records: Sequence[Record]) -> None:
        """Commit one after another: all or none; or, where the store cannot, passing over what is there already."""
        ...


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did. differences: where records decided anew are not those that were exported.

    waiting, owed: deliveries and effects that the next `kuznia up` will do.
    """

    changed: bool
    events: int
    decisions: int
    records: int
    waiting: int
    owed: int
    differences: Sequence[str] = ()


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """cold: nothing waits and nothing is owed afterwards; the home is only to be looked at.

    accept: take what today's services decide, where it is not what was exported.
    """

    cold: bool = False
    accept: bool = False


def bring_in(
    snapshot: Snapshot,
    services: Mapping[str, Service],
    ports: tuple[Operations, Batches],
    plan: Plan,
    note: Note,
) -> Result:
    """Make the home that was exported. No effect is performed, nothing is said. Raises Reject, changing nothing.

    The log comes first, the records last and all at once, so that a killed import is simply run again.
    """
    operations, store = ports
    kept = {record.key: record for record in snapshot.records}
    made = _decided_again(snapshot, services, plan)
    differences = [*made.faults, *_differing(made, kept, services)]
    if differences and not plan.accept:
        raise Reject(_differ(differences))
    taken = msgspec.structs.replace(snapshot, waiting=[]) if plan.cold else snapshot
    result = Result(
        changed=True,
        events=len(snapshot.events),
        decisions=len(made.steps),
        records=len(kept) or len(made.records),
        waiting=len(taken.waiting),
        owed=sum(len(record.outbox) for record in made.records.values()),
        differences=differences,
    )
    steps = [*made.steps, *_marks(made, kept), *_others(kept, services)]
    home = operations.snapshot()
    if not _is_cut_off(home, steps, note):
        if _is_there(home, snapshot, made):
            return msgspec.structs.replace(result, changed=False)
        operations.take(msgspec.structs.replace(taken, notes=[*taken.notes, note]))
    store.commit_all(steps)
    return result


def _decided_again(snapshot: Snapshot, services: Mapping[str, Service], plan: Plan) -> Rebuilt:
    events: dict[str, Event] = {event.id: event for event in snapshot.events}
    owes = {r.key: {intent.id for intent in r.outbox} for r in snapshot.records if not plan.cold}
    return rebuild(services, events, snapshot.decisions, lambda key: owes.get(key, set()))


def _differing(made: Rebuilt, kept: Mapping[str, Record], services: Mapping[str, Service]) -> list[str]:
    """Only of records that services own; of a compacted inbox, only what is left of it can be compared."""
    kinds = owners(services)
    lines = []
    for key, record in kept.items():
        if record.kind not in kinds:
            continue
        again = made.records.get(key, Record(key=key))
        if set(record.inbox) <= set(again.inbox):
            again = msgspec.structs.replace(again, inbox=record.inbox)
        lines += differing(again, record)
    return lines


def _marks(made: Rebuilt, kept: Mapping[str, Record]) -> list[Record]:
    """Why a record is dead was no decision: it is written on top."""
    return [
        msgspec.structs.replace(made.records[key], dead=record.dead)
        for key, record in kept.items()
        if record.dead and key in made.records
    ]


def _others(kept: Mapping[str, Record], services: Mapping[str, Service]) -> list[Record]:
    """Records that no event makes (tokens, repositories, claims), each by a legal way to its status."""
    kinds = owners(services)
    return [
        msgspec.structs.replace(record, status=status, revision=revision)
        for record in kept.values()
        if record.kind not in kinds
        for revision, status in enumerate(_way(record.kind, record.status))
    ]


def _way(kind: str, status: str) -> list[str]:
    """The shortest way of legal transitions from nothing to a status."""
    ways: list[list[str]] = [[""]]
    for way in ways:
        for start, end in sorted(TRANSITIONS.get(kind, frozenset())):
            if start == way[-1] and end == status:
                return [*way[1:], end]
            if start == way[-1] and end not in way:
                ways.append([*way, end])
    raise Reject(f"a record of kind {kind!r} cannot have the status {status!r}")


def _is_cut_off(home: Snapshot, steps: Sequence[Record], note: Note) -> bool:
    """Whether this very import, noted when it began, got no further than some of its commits, and nobody went on."""
    began = any(
        (kept.action, kept.detail.get("digest")) == (note.action, note.detail.get("digest"))
        for kept in home.notes
    )
    ways: dict[str, list[Record]] = {}
    for step in steps:
        ways.setdefault(step.key, []).append(step)
    there = {record.key: record for record in home.records}
    on_the_way = all(key in ways and _stands_at(record, ways[key]) for key, record in there.items())
    finished = {key for key, way in ways.items() if key in there and there[key].revision == len(way)}
    return began and on_the_way and len(finished) < len(ways)


def _stands_at(record: Record, way: Sequence[Record]) -> bool:
    """Whether a record is as its first commits made it."""
    if record.revision > len(way):
        return False
    return msgspec.structs.replace(way[record.revision - 1], revision=record.revision) == record


def _is_there(home: Snapshot, wanted: Snapshot, made: Rebuilt) -> bool:
    """Whether the home holds just this already. Raises Reject where it holds anything else."""
    odd = {event.id for event in home.events} - {event.id for event in wanted.events}
    if odd:
        raise Reject(
            f"this home has {len(odd)} event(s) of its own, such as {min(odd)}: import into an empty one"
            " (set KUZNIA_HOME to a new folder)"
        )
    if not home.records:
        return False
    there = {record.key: record for record in home.records}
    known = {*made.records, *(record.key for record in wanted.records)}
    lines = [f"{key}: is here and not in the file" for key in sorted(set(there) - known)]
    for key, record in made.records.items():
        lines += differing(record, there.get(key, Record(key=key)))
    if lines:
        raise Reject(f"this home has records already, and they are others:\n{_first(lines)}")
    return True


def _differ(lines: Sequence[str]) -> str:
    return (
        f"today's services decide otherwise than those that exported:\n{_first(lines)}\n"
        "import with the Kuźnia that wrote the file, or take what is decided now with --accept-differences"
    )


def _first(lines: Sequence[str]) -> str:
    more = [f"… and {len(lines) - MOST_SHOWN} more"] if len(lines) > MOST_SHOWN else []
    return "\n".join(f"  {line}" for line in [*lines[:MOST_SHOWN], *more])
